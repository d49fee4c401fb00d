"""The parts of a page's URL."""

from __future__ import annotations

import pytest

from ingest.enrich.urls import LONGEST, to_url_parts

ADDRESSES = [
    ("https://example.com/", "example.com", "/"),
    ("https://example.com", "example.com", "/"),
    ("https://example.com?a=1", "example.com", "/"),
    ("https://example.com#top", "example.com", "/"),
    ("http://WWW.Example.COM:8080/A/b/", "example.com", "/A/b/"),
    ("https://www.www.example.com/", "www.example.com", "/"),
    ("https://user:pw@example.com/x", "example.com", "/x"),
    ("https://[2001:db8::1]:8000/x", "[2001:db8::1]", "/x"),
    ("https://example.com/a%20b/%C3%A4/ä?q#f", "example.com", "/a%20b/%C3%A4/ä"),
    ("https://example.com/a//b/../c;d=1", "example.com", "/a//b/../c;d=1"),
    ("https://example.com/a?b#c?d", "example.com", "/a"),
    ("https://example.com/a#b?utm_source=x", "example.com", "/a"),
    ("https://ПРИМЕР.рф/", "пример.рф", "/"),
    ("//example.com/x", "example.com", "/x"),
    ("/just/a/path", "", "/just/a/path"),
    ("app://com.example.shop/cart", "com.example.shop", "/cart"),
    ("file:///home/a.html", "", "/home/a.html"),
    ("https://", "", "/"),
    ("", "", "/"),
    ("https://exa mple.com:99999999/\x00\n", "exa mple.com", "/\x00\n"),
    ("https://[oops/x", "[oops", "/x"),
]


@pytest.mark.parametrize(("url", "hostname", "pathname"), ADDRESSES)
def test_the_host_is_cleaned_and_the_path_stays_as_it_was_sent(url: str, hostname: str, pathname: str) -> None:
    parts = to_url_parts(url)
    assert (parts.hostname, parts.pathname) == (hostname, pathname)


QUERIES = [
    ("utm_source=A%20b&utm_medium=c+d&utm_campaign=e&utm_term=f&utm_content=g", ("A b", "c d", "e", "g", "f")),
    ("utm_source=first&utm_source=second", ("first", "", "", "", "")),
    ("utm_source=&utm_source=second", ("second", "", "", "", "")),
    ("UTM_SOURCE=x&xutm_source=y", ("", "", "", "", "")),
    ("utm_source=%E4%BD%A0", ("你", "", "", "", "")),
    ("utm_source=%zz%4", ("%zz%4", "", "", "", "")),
    ("utm_source=a%FFb%ED%A0%80", ("a\ufffdb\ufffd\ufffd\ufffd", "", "", "", "")),
    ("utm_source=" + "x" * 1000, ("x" * LONGEST, "", "", "", "")),
    ("utm_source", ("", "", "", "", "")),
    ("&&=&utm_medium==&", ("", "=", "", "", "")),
    ("utm_source=%20%20", ("", "", "", "", "")),
]


@pytest.mark.parametrize(("query", "campaign"), QUERIES)
def test_campaign_parameters_are_decoded_and_cut(query: str, campaign: tuple[str, ...]) -> None:
    assert to_url_parts(f"https://example.com/?{query}")[2:7] == campaign


@pytest.mark.parametrize(
    ("query", "click_id"),
    [
        ("gclid=Cj0K", "gclid"),
        ("fbclid=1&gclid=2", "gclid"),
        ("fbclid=IwAR", "fbclid"),
        ("gclid=", ""),
        ("GCLID=1", ""),
        ("li_fat_id=1", "li_fat_id"),
        ("a=gclid", ""),
    ],
)
def test_of_a_click_id_the_name_alone_is_kept(query: str, click_id: str) -> None:
    assert to_url_parts(f"https://example.com/?{query}").click_id == click_id


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("ref=c&source=b&utm_source=a", "a"),
        ("ref=c&source=b", "b"),
        ("ref=c", "c"),
        ("utm_source=&ref=c", "c"),
        ("utm_medium=x", ""),
    ],
)
def test_a_source_is_asked_for_by_utm_source_then_source_then_ref(query: str, asked: str) -> None:
    assert to_url_parts(f"https://example.com/?{query}").asked == asked
