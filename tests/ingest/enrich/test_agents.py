"""What a user agent says."""

from __future__ import annotations

import pytest
from crawlerdetect import CrawlerDetect
from crawleruseragents import CRAWLER_USER_AGENTS_DATA, is_crawler

from ingest.enrich.agents import DEVICES, LONGEST, AgentReader
from tests.ingest.enrich.make import SAFARI

READER = AgentReader()
WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.4 Mobile/15E148 Safari/604.1"
)
PEOPLE = [
    (SAFARI, ("desktop", "Safari", "17", "macOS", "10.15")),
    (IPHONE, ("mobile", "Safari", "17", "iOS", "17")),
    (
        f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/126.0.0.0 Safari/537.36",
        ("desktop", "Chrome", "126", "Windows", "10"),
    ),
    (
        f"Mozilla/5.0 (Windows NT 6.3; Win64; x64) {WEBKIT} Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0",
        ("desktop", "Edge", "126", "Windows", "8.1"),
    ),
    (
        f"Mozilla/5.0 (Linux; Android 14; SM-S918B) {WEBKIT} Chrome/126.0.0.0 Mobile Safari/537.36",
        ("mobile", "Chrome", "126", "Android", "14"),
    ),
    (
        f"Mozilla/5.0 (Linux; Android 13; SM-X700) {WEBKIT} Chrome/126.0.0.0 Safari/537.36",
        ("tablet", "Chrome", "126", "Android", "13"),
    ),
    (
        "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
        ("desktop", "Firefox", "127", "Ubuntu", ""),
    ),
    (
        "Mozilla/5.0 (Android 14; Mobile; rv:127.0) Gecko/127.0 Firefox/127.0",
        ("mobile", "Firefox", "127", "Android", "14"),
    ),
    (
        IPHONE.replace("iPhone; CPU iPhone OS 17_4", "iPad; CPU OS 12_5"),
        ("tablet", "Safari", "17", "iOS", "12"),
    ),
    (
        f"Mozilla/5.0 (SMART-TV; LINUX; Tizen 6.0) {WEBKIT} 76.0.3809.146/6.0 TV Safari/537.36",
        ("tv", "Safari", "", "Tizen", "6"),
    ),
    (
        f"Mozilla/5.0 (PlayStation; PlayStation 5/5.50) {WEBKIT.replace('537.36', '605.1.15')} Version/13.0 Safari/605",
        ("console", "Safari", "13", "", ""),
    ),
]


@pytest.mark.parametrize(("user_agent", "expected"), PEOPLE)
def test_people(user_agent: str, expected: tuple[str, ...]) -> None:
    agent = READER.read(user_agent)
    assert (*agent.device,) == expected
    assert not agent.crawler


MACHINES = [
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "curl/8.5.0",
    "python-requests/2.32.0",
    "Go-http-client/2.0",
    f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} HeadlessChrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
    "FeedBurner/1.0 (http://www.FeedBurner.com)",
]


@pytest.mark.parametrize("user_agent", MACHINES)
def test_machines(user_agent: str) -> None:
    assert READER.read(user_agent).crawler


def test_no_more_than_a_browser_says_is_read() -> None:
    assert READER.read(SAFARI + " " * LONGEST + "Googlebot/2.1") == READER.read(SAFARI)


@pytest.mark.parametrize("user_agent", ["", " ", "\x00", "(", "ä" * 1024, "Mozilla/5.0 " * 100])
def test_any_text_is_read(user_agent: str) -> None:
    assert READER.read(user_agent).device.device_type in DEVICES


def test_a_search_engines_app_is_no_crawler_where_the_lists_look_around() -> None:
    # CrawlerDetect's pattern `Yandex(?!Search)` is one that Rust's matcher cannot run.
    assert not READER.read(f"Mozilla/5.0 (Linux; Android 14) {WEBKIT} YandexSearch/24.1 Mobile Safari/537.36").crawler
    assert READER.read("Mozilla/5.0 (compatible; YandexMetrika/2.0)").crawler


def test_every_crawler_that_the_list_quotes_is_one_and_both_lists_agree_with_their_own_code() -> None:
    quoted = [text for entry in CRAWLER_USER_AGENTS_DATA for text in entry.get("instances", [])]
    assert len(quoted) > 1000
    assert [text for text in quoted if not READER.read(text).crawler] == []
    for text in quoted[::7] + [text for text, _ in PEOPLE]:
        rest = READER._ordinary.sub("", text).strip()  # noqa: SLF001 (each list by itself)
        assert READER._suspicious.matches(rest) == CrawlerDetect().is_crawler(text)  # noqa: SLF001
        assert READER._crawlers.matches(text) == is_crawler(text)  # noqa: SLF001
