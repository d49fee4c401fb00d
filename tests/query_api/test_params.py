"""Questions out of parameters: what is resolved, and how everything wrong is named."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from query_api.cursor import Cursor
from query_api.families import REPORTS
from query_api.params import parse_question, to_query
from query_api.question import Access, InvalidQuestionError, SiteView
from schemas.event import SiteId
from tests.query_api.events import ACCESS, DAY

if TYPE_CHECKING:
    from query_api.question import Question

NOW = datetime(2026, 3, 20, 10, 0, 0, 123_456, tzinfo=UTC)

WRONG = {
    "": [("start", "Missing required parameters: start, end")],
    "start=2026-03-10": [("end", "Missing required parameters: end")],
    "strat=2026-03-10&end=2026-03-10": [
        ("strat", "unknown parameter 'strat'; did you mean start?"),
        ("start", "Missing required parameters: start"),
    ],
    "period=7d&foo=1": [("foo", "unknown parameter 'foo'; there are start, end, period,")],
    "start=2026-03-10&end=2026-03-09": [("end", "end: must be after start")],
    "start=2026-02-30&end=nonsense": [
        ("start", "start: '2026-02-30' is not a day of the calendar"),
        ("end", "end: 'nonsense' is neither a date"),
    ],
    "start=2026-03-10&end=2026-03-10T25:00": [("end", "end: '2026-03-10T25:00' is not a time between")],
    "start=0001-01-01&end=9999-12-31": [("start", "start: 0001-01-01 is not"), ("end", "end: 9999-12-31 is not")],
    "period=7d&start=2026-03-10": [("period", "period: stands in place of start and end")],
    "period=7days": [("period", "period: '7days' is none of today, yesterday")],
    "period=7d&limit=0": [("limit", "limit: '0' is not a whole number from 1 to 1000")],
    "period=7d&limit=١٢": [("limit", "limit: '١٢' is not")],
    "period=7d&timezone=Europe/Berlinn": [("timezone", "timezone: 'Europe/Berlinn' is no IANA time zone")],
    "period=7d&timezone=../../etc/passwd": [("timezone", "timezone: '../../etc/passwd' is no IANA time zone")],
    "period=7d&timezone=Europe": [("timezone", "timezone: 'Europe' is no IANA time zone")],
    "period=7d&site=3&site=one.example": [("site", "site: no site '3' in this project")],
    "period=7d&compare=before": [("compare", "compare: 'before' is none of previous, year")],
    "period=7d&period=28d": [("period", "period: given 2 times")],
    "period=7d&filters=\ud800": [("'filters'", "'filters': is not valid text")],
    "period=7d&cursor=AAAA": [("cursor", "cursor: is not one that this endpoint gave")],
    "period=7d&interval=1 day": [("interval", "unknown parameter 'interval'")],
}


def to_pairs(text: str) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (part.partition("=") for part in text.split("&") if part)]


def parse(text: str, report: str = "pages", access: Access = ACCESS) -> Question:
    return parse_question(REPORTS[report], to_pairs(text), access, NOW)


def refusals(text: str, report: str = "pages", access: Access = ACCESS) -> list[tuple[str, str]]:
    with pytest.raises(InvalidQuestionError) as caught:
        parse(text, report, access)
    return [(problem.field, problem.message) for problem in caught.value.problems]


@pytest.mark.parametrize("text", WRONG)
def test_every_problem_is_named(text: str) -> None:
    found = refusals(text)
    assert [name for name, _ in found] == [name for name, _ in WRONG[text]]
    assert all(message.startswith(start) for (_, message), (_, start) in zip(found, WRONG[text], strict=True))


def test_all_sites_are_asked_unless_named() -> None:
    assert [site.id for site in parse("period=7d").sites] == [1, 2]
    assert [site.id for site in parse("period=7d&site=two.example&site=2").sites] == [2]


def test_the_timezone_is_the_sites_common_one() -> None:
    berlin = SiteView(SiteId(5), "b.example", "Europe/Berlin")
    assert parse("period=7d", access=Access((berlin,))).timezone == "Europe/Berlin"
    assert parse("period=7d", access=Access((berlin, *ACCESS.sites))).timezone == "UTC"
    assert parse("period=7d&timezone=Asia/Tokyo", access=Access((berlin,))).timezone == "Asia/Tokyo"


def test_too_many_buckets_name_the_interval_that_fits() -> None:
    week = "start=2026-01-01&end=2026-01-07&interval=1 minute"
    assert refusals(week, "timeseries") == [
        ("interval", "interval: '1 minute' gives more than 10000 buckets; use '5 minutes'")
    ]
    exact = "start=2026-01-01T00:00:00Z&end=2026-01-07T22:40:00Z&interval=1 minute"
    assert parse(exact, "timeseries").interval == "1 minute"
    assert refusals(exact.replace("22:40", "22:41"), "timeseries")


def test_a_question_survives_its_own_words() -> None:
    text = 'period=month&compare=year&filters=[["props.a;b","!=",["x|y"]]]&site=1&include_bots=true&limit=7'
    question = parse(text)
    again = parse_question(question.report, to_query(question), ACCESS, NOW.replace(year=2027))
    assert (again.range, again.conditions, again.sites) == (question.range, question.conditions, question.sites)
    assert (again.compare, again.include_bots, again.limit) == (question.compare, True, 7)


def make_cursor(question: Question, *after: str | int) -> str:
    return Cursor(question.report.name, to_query(question), question.asked, after).to_text()


def test_a_cursor_goes_alone_or_with_its_own_question() -> None:
    question = parse("period=7d&site=1")
    cursor = make_cursor(question, 3, "/a")
    assert parse(f"cursor={cursor}").after == (3, "/a")
    assert parse(f"cursor={cursor}&period=7d&site=1&limit=5").limit == 5
    assert parse(f"cursor={cursor}").range == question.range
    [(_, message)] = refusals(f"cursor={cursor}&period=28d&site=1")
    assert message.startswith("cursor: belongs to another question")


@pytest.mark.parametrize("after", [(), ("3", "/a"), (3,), (3, 4), (-1, "/a"), (3, "/a", "b"), (2**63, "/a")])
def test_a_cursor_with_a_strange_place_is_refused(after: tuple[str | int, ...]) -> None:
    [(name, _)] = refusals(f"cursor={make_cursor(parse('period=7d'), *after)}")
    assert name == "cursor"


def test_a_cursor_of_another_endpoint_is_refused() -> None:
    cursor = make_cursor(parse("period=7d", "referrers"), 3, "Google")
    assert refusals(f"cursor={cursor}") == [("cursor", "cursor: is one of /v1/referrers")]


def test_a_cursor_opens_no_site_of_another_project() -> None:
    cursor = make_cursor(parse("period=7d&site=1"), 3, "/a")
    stranger = Access((SiteView(SiteId(9), "nine.example", "UTC"),))
    assert refusals(f"cursor={cursor}", access=stranger) == [("site", "site: no site '1' in this project")]


def test_a_day_is_whole() -> None:
    question = parse_question(REPORTS["stats"], DAY, ACCESS, NOW)
    assert (question.range.end - question.range.start).days == 1
