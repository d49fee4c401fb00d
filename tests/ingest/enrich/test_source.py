"""Where a visit came from: source and channel."""

from __future__ import annotations

import pytest

from ingest.enrich.channel import CHANNELS, RULES, UNASSIGNED, Traffic, to_channel
from ingest.enrich.facts import SiteFacts
from ingest.enrich.referrals import ReferralReader
from ingest.enrich.source import Tags, to_source
from ingest.enrich.sources import CATEGORIES, read_register
from ingest.enrich.urls import to_url_parts

REGISTER = read_register()
READER = ReferralReader(REGISTER)
SITE = SiteFacts("Example.com", b"key", frozenset({"shop.example.net"}))


def find(query: str, referrer: str, page: str = "https://www.example.com/a") -> tuple[str, str]:
    parts = to_url_parts(f"{page}?{query}")
    tags = Tags(parts.hostname, parts.asked, parts.utm_medium, parts.utm_campaign, parts.click_id)
    return to_source(REGISTER, SITE, tags, READER.read(referrer)[1:])


VISITS = [
    ("", "", ("Direct", "Direct")),
    ("", "https://example.com/before", ("Direct", "Direct")),
    ("", "https://www.example.com/before", ("Direct", "Direct")),
    ("", "https://shop.example.net/", ("Direct", "Direct")),
    ("", "-", ("Direct", "Direct")),
    ("", "https://other.example.com/", ("other.example.com", "Referral")),
    ("", "https://www.google.com/", ("Google", "Organic Search")),
    ("", "https://www.google.co.uk/search?q=x", ("Google", "Organic Search")),
    ("", "https://docs.google.com/document/1", ("Google", "Referral")),
    ("", "https://mail.google.com/", ("Gmail", "Email")),
    ("", "https://www.bing.com/", ("Bing", "Organic Search")),
    ("", "https://duckduckgo.com/", ("DuckDuckGo", "Organic Search")),
    ("", "https://t.co/abc", ("X", "Organic Social")),
    ("", "https://l.facebook.com/l.php?u=1", ("Facebook", "Organic Social")),
    ("", "android-app://com.reddit.frontpage/", ("Reddit", "Organic Social")),
    ("", "https://news.ycombinator.com/item?id=1", ("Hacker News", "Organic Social")),
    ("", "https://m.youtube.com/watch?v=1", ("YouTube", "Organic Video")),
    ("", "https://www.amazon.de/", ("Amazon", "Organic Shopping")),
    ("", "https://chatgpt.com/", ("ChatGPT", "AI")),
    ("", "https://chat.openai.com/c/1", ("ChatGPT", "AI")),
    ("", "https://claude.ai/", ("Claude", "AI")),
    ("", "https://www.perplexity.ai/search", ("Perplexity", "AI")),
    ("", "https://gemini.google.com/", ("Gemini", "AI")),
    ("", "https://copilot.microsoft.com/", ("Copilot", "AI")),
    ("", "https://de.wikipedia.org/wiki/X", ("Wikipedia", "Referral")),
    ("", "https://somebody.substack.com/p/x", ("Substack", "Referral")),
    ("", f"https://{'a.' * 900}substack.com/", ("Substack", "Referral")),
    ("", "https://ad.doubleclick.net/", ("Doubleclick", "Display")),
    ("", "https://www.cnn.com/x", ("cnn.com", "Referral")),
    ("", "https://blog.unheard.example/post", ("blog.unheard.example", "Referral")),
    ("", "blog.unheard.example/post", ("blog.unheard.example", "Referral")),
    ("", "not a referrer", ("Direct", "Direct")),
    ("utm_source=chatgpt.com", "", ("ChatGPT", "AI")),
    ("utm_source=fb", "", ("Facebook", "Organic Social")),
    ("utm_source=fb&utm_medium=cpc", "", ("Facebook", "Paid Social")),
    ("utm_source=ig&utm_medium=paid_social", "", ("Instagram", "Paid Social")),
    ("utm_source=Google&utm_medium=CPC", "https://www.google.com/", ("Google", "Paid Search")),
    ("utm_source=youtube&utm_medium=film", "", ("YouTube", "Organic Video")),
    ("utm_source=youtube&utm_medium=cpc", "", ("YouTube", "Paid Video")),
    ("utm_source=yahoo&utm_medium=organic", "", ("Yahoo", "Organic Search")),
    ("utm_source=acme&utm_medium=ppc", "", ("acme", "Paid Other")),
    ("utm_source=acme&utm_medium=cpm", "", ("acme", "Display")),
    ("utm_source=acme&utm_medium=banner", "", ("acme", "Display")),
    ("utm_source=acme&utm_medium=cpc&utm_campaign=spring-shopping", "", ("acme", "Paid Shopping")),
    ("utm_source=acme&utm_medium=x&utm_campaign=spring-shop", "", ("acme", "Organic Shopping")),
    ("utm_source=acme&utm_medium=x&utm_campaign=photoshop-workshop", "", ("acme", UNASSIGNED)),
    ("utm_source=acme&utm_medium=x&utm_campaign=the-eshop", "", ("acme", "Organic Shopping")),
    ("utm_source=acme&utm_campaign=Cross-Network-1", "", ("acme", "Cross-network")),
    ("utm_source=Newsletter", "", ("Newsletter", "Email")),
    ("utm_source=acme&utm_medium=e-mail", "", ("acme", "Email")),
    ("utm_source=acme&utm_medium=affiliate", "", ("acme", "Affiliates")),
    ("utm_source=acme&utm_medium=audio", "", ("acme", "Audio")),
    ("utm_source=sms&utm_medium=x", "", ("sms", "SMS")),
    ("utm_source=acme&utm_medium=web-push", "", ("acme", "Mobile Push Notifications")),
    ("utm_source=acme&utm_medium=mobile_notification", "", ("acme", "Mobile Push Notifications")),
    ("utm_source=firebase&utm_medium=x", "", ("firebase", "Mobile Push Notifications")),
    ("utm_source=acme&utm_medium=referral", "", ("acme", "Referral")),
    ("utm_source=acme&utm_medium=social", "", ("acme", "Organic Social")),
    ("utm_source=acme&utm_medium=video", "", ("acme", "Organic Video")),
    ("utm_source=acme&utm_medium=fax", "", ("acme", UNASSIGNED)),
    ("utm_medium=email", "", ("Direct", "Email")),
    ("ref=producthunt", "https://www.google.com/", ("Product Hunt", "Organic Social")),
    ("ref=https://www.producthunt.com/", "", ("Product Hunt", "Organic Social")),
    ("source=tw", "", ("X", "Organic Social")),
    ("ref=somebody", "", ("somebody", "Referral")),
    ("gclid=1", "https://www.google.com/", ("Google", "Paid Search")),
    ("gclid=1", "https://www.youtube.com/", ("YouTube", "Paid Video")),
    ("gclid=1", "", ("Direct", "Paid Search")),
    ("msclkid=1", "https://www.bing.com/", ("Bing", "Paid Search")),
    ("fbclid=1", "https://l.facebook.com/", ("Facebook", "Organic Social")),
    ("li_fat_id=1", "https://www.linkedin.com/", ("LinkedIn", "Paid Social")),
    ("ttclid=1", "", ("Direct", "Paid Video")),
    ("dclid=1", "", ("Direct", "Display")),
    ("fbclid=1", "", ("Direct", "Direct")),
    ("igshid=1", "https://example.com/before", ("Direct", "Direct")),
    ("mc_eid=1", "", ("Direct", "Direct")),
]


@pytest.mark.parametrize(("query", "referrer", "expected"), VISITS)
def test_source_and_channel(query: str, referrer: str, expected: tuple[str, str]) -> None:
    assert find(query, referrer) == expected


def test_the_host_of_the_page_itself_is_direct() -> None:
    assert find("", "https://blog.example.org/x", page="https://blog.example.org/y") == ("Direct", "Direct")


def test_every_channel_is_reached_by_a_case() -> None:
    assert {channel for _, _, (_, channel) in VISITS} == set(CHANNELS)


def test_traffic_that_no_rule_knows_is_unassigned() -> None:
    assert to_channel(Traffic("acme", "", "fax", "", "")) == UNASSIGNED
    assert UNASSIGNED not in {channel for channel, _ in RULES}


REFERRERS = [
    ("https://www.Google.com/", "google.com"),
    ("http://example.org", "example.org"),
    ("https://www.example.org:8443/A/b?c=d#e", "example.org/A/b"),
    ("https://example.org/a/", "example.org/a/"),
    ("android-app://com.google.android.gm/", "com.google.android.gm"),
    ("example.org/a b", "example.org/a b"),
    ("about:blank", ""),
    ("localhost", ""),
    ("https://", ""),
    ("", ""),
]


@pytest.mark.parametrize(("referrer", "url"), REFERRERS)
def test_a_referrer_is_shown_without_scheme_www_query_and_fragment(referrer: str, url: str) -> None:
    assert READER.read(referrer).url == url


def test_the_register_is_consistent() -> None:
    assert {source.category for source in REGISTER.hosts.values()} <= set(CATEGORIES)
    assert all(host == host.lower() and not host.startswith("www.") for host in REGISTER.hosts)
    assert all(word == word.lower() for word in REGISTER.names)
