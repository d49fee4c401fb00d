"""What the client says of itself."""

from __future__ import annotations

import pytest

from ingest.enrich.client import to_language
from tests.ingest.enrich.make import make_facts, make_line, share_enricher, to_lines


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("en-gb", "en-GB"),
        ("EN", "en"),
        ("de_DE", "de-DE"),
        ("zh-hant-tw", "zh-Hant-TW"),
        ("es-419", "es-419"),
        ("en-US,en;q=0.9", "en-US"),
        ("de-DE-1996-u-co-phonebk", "de-DE"),
        ("en-US.UTF-8", "en-US"),
        ("yue", "yue"),
        (" fr ", "fr"),
        ("english", ""),
        ("*", ""),
        ("", ""),
        ("e", ""),
        ("日本", ""),
    ],
)
def test_a_language_is_a_tag_in_its_usual_case(text: str, language: str) -> None:
    assert to_language(text) == language


@pytest.mark.parametrize(
    ("width", "screen"),
    [
        (0, ""),
        (-5, ""),
        (1, "xs"),
        (575, "xs"),
        (576, "sm"),
        (768, "md"),
        (992, "lg"),
        (1439, "lg"),
        (1440, "xl"),
        (1919, "xl"),
        (1920, "2xl"),
        (2**40, "2xl"),
    ],
)
def test_the_screen_class_follows_the_width(width: int, screen: str) -> None:
    lines = to_lines(make_line(screen_width=width))
    assert share_enricher().enrich(lines, make_facts(lines))["screen"].to_pylist() == [screen]


def test_a_time_zone_is_kept_if_it_is_one() -> None:
    zones = ["Europe/Berlin", "Asia/Calcutta", "Mars/Phobos", "../../etc/passwd", ""]
    lines = to_lines(*(make_line(timezone=zone) for zone in zones))
    found = share_enricher().enrich(lines, make_facts(lines))["timezone"].to_pylist()
    assert found == ["Europe/Berlin", "Asia/Calcutta", "", "", ""]
