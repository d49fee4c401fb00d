"""The rules of METRICS.md, one small case each, through the real engine."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import pytest

from query_api.question import InvalidQuestionError
from tests.query_api.events import NOON, ask, insert, make_event

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from schemas.warehouse.client import Limits, Warehouse
    from tests.query_api.events import Event

HALF_HOUR = 1800
VALUES = "SELECT DISTINCT country AS value FROM events WHERE"
MILLISECOND = 0.001

# What happens, and (visitors, pageviews, sessions, avg_duration, bounce_rate, events).
STATS: dict[str, tuple[list[Event], tuple[float, ...]]] = {
    "one view is a bounce": ([make_event()], (1, 1, 1, 0, 1, 1)),
    "two views are none": ([make_event(), make_event(at=60)], (1, 2, 1, 60, 0, 2)),
    "a gap of 30:00.000 holds": ([make_event(), make_event(at=HALF_HOUR)], (1, 2, 1, 1800, 0, 2)),
    "a gap of 30:00.001 parts": ([make_event(), make_event(at=HALF_HOUR + MILLISECOND)], (1, 2, 2, 0, 1, 2)),
    "engagement keeps a session open": (
        [make_event(), make_event("engagement", 1000), make_event(at=2800)],
        (1, 2, 1, 2800, 0, 2),
    ),
    "engagement alone is no session": ([make_event("engagement"), make_event("engagement", 60)], (0, 0, 0, 0, 0, 0)),
    "engagement before the first event belongs to none": (
        [make_event("engagement"), make_event(at=600), make_event(at=660)],
        (1, 2, 1, 60, 0, 2),
    ),
    "engagement after a gap is not of the session before": (
        [make_event(), make_event("engagement", 4000), make_event(at=5000)],
        (1, 2, 2, 0, 1, 2),
    ),
    "engagement of one visitor does not hold another's": (
        [make_event(visitor=1), make_event("engagement", 10, visitor=2), make_event(at=20, visitor=2)],
        (2, 2, 2, 0, 1, 2),
    ),
    "an interactive event ends a bounce": ([make_event(), make_event("signup", 5)], (1, 1, 1, 5, 0, 2)),
    "a quiet event does not": ([make_event(), make_event("seen", 5, interactive=False)], (1, 1, 1, 5, 1, 2)),
    "one quiet event alone is a bounce": ([make_event("seen", interactive=False)], (1, 0, 1, 0, 1, 1)),
    "two quiet events alone are none": (
        [make_event("seen", interactive=False), make_event("seen", 5, interactive=False)],
        (1, 0, 1, 5, 0, 2),
    ),
    "a bot is taken away before sessions are made": (
        [make_event(), make_event(at=1000, bot="ua"), make_event(at=2800)],
        (1, 2, 2, 0, 1, 2),
    ),
    "one visitor of two sites is two": ([make_event(), make_event(site_id=2)], (2, 2, 2, 0, 1, 2)),
    "a visitor's next local day is another session": (
        [make_event(), make_event(at=60, local_date=date(2026, 3, 11))],
        (1, 2, 2, 0, 1, 2),
    ),
}


@pytest.mark.parametrize("case", STATS)
async def test_stats_are_what_metrics_says(warehouse: Warehouse, case: str) -> None:
    events, expected = STATS[case]
    await insert(warehouse, *events)
    [row] = (await ask(warehouse, "stats")).rows
    names = ("visitors", "pageviews", "sessions", "avg_duration", "bounce_rate", "events")
    assert tuple(row[name] for name in names) == expected


async def test_no_data_is_one_row_of_zeros(warehouse: Warehouse) -> None:
    [row] = (await ask(warehouse, "stats")).rows
    assert set(row.values()) == {0}


async def test_a_session_counts_where_it_starts_and_its_events_where_they_lie(warehouse: Warehouse) -> None:
    await insert(warehouse, make_event(at=-60), make_event(at=60))
    [before] = (await ask(warehouse, "stats", [("start", "2026-03-10"), ("end", "2026-03-10T12:00:00Z")])).rows
    [after] = (await ask(warehouse, "stats", [("start", "2026-03-10T12:00:00Z"), ("end", "2026-03-10")])).rows
    assert (before["sessions"], before["pageviews"], before["avg_duration"]) == (1, 1, 120)
    assert (after["sessions"], after["pageviews"], after["visitors"]) == (0, 1, 1)


async def test_an_identified_visitor_counts_once_in_a_range(warehouse: Warehouse) -> None:
    await insert(warehouse, make_event(), make_event(at=86400))
    [row] = (await ask(warehouse, "stats", [("start", "2026-03-10"), ("end", "2026-03-11")])).rows
    assert (row["visitors"], row["sessions"]) == (1, 2)


async def test_a_session_has_the_attributes_of_its_first_counted_event(warehouse: Warehouse) -> None:
    await insert(
        warehouse,
        make_event("engagement", -5, referrer_source="Bing"),
        make_event(referrer_source="Google"),
        make_event(at=9, referrer_source="Direct"),
    )
    rows = (await ask(warehouse, "referrers")).rows
    assert rows == [{"referrer_source": "Google", "visitors": 1, "pageviews": 2, "bounce_rate": 0.0}]


async def test_events_of_one_millisecond_are_in_the_order_of_the_log(warehouse: Warehouse) -> None:
    for offset, source in ((9, "second"), (7, "first"), (11, "third")):
        await insert(warehouse, make_event(referrer_source=source, pathname=f"/{source}", _offset=offset))
    rows = (await ask(warehouse, "referrers")).rows
    pages = {row["pathname"]: row for row in (await ask(warehouse, "pages")).rows}
    assert [row["referrer_source"] for row in rows] == ["first"]
    assert pages["/first"]["entries"] == pages["/third"]["exits"] == 1


async def test_engagement_belongs_to_the_latest_earlier_view_of_its_page(warehouse: Warehouse) -> None:
    await insert(
        warehouse,
        make_event(pathname="/a"),
        make_event(at=10, pathname="/b"),
        make_event("engagement", 11, pathname="/a", engaged_ms=3000, scroll_depth=40),
        make_event("engagement", 12, pathname="/nowhere", engaged_ms=9000, scroll_depth=90),
        make_event(at=20, pathname="/a"),
        make_event("engagement", 21, pathname="/a", engaged_ms=500, scroll_depth=80),
    )
    pages = {row["pathname"]: row for row in (await ask(warehouse, "pages")).rows}
    assert (pages["/a"]["avg_duration"], pages["/a"]["scroll_depth"]) == (3.5, 80)
    assert (pages["/b"]["avg_duration"], pages["/b"]["scroll_depth"]) == (10, 0)
    assert set(pages) == {"/a", "/b"}


async def test_engagement_after_the_session_gives_its_page_no_time(warehouse: Warehouse) -> None:
    await insert(warehouse, make_event(), make_event("engagement", 4000, engaged_ms=5000, scroll_depth=50))
    [row] = (await ask(warehouse, "pages")).rows
    assert (row["avg_duration"], row["scroll_depth"]) == (0, 0)


async def test_entries_and_exits_lie_wherever_in_time(warehouse: Warehouse) -> None:
    await insert(warehouse, make_event(pathname="/in"), make_event(at=120, pathname="/out"))
    late = [("start", "2026-03-10T12:01:00Z"), ("end", "2026-03-10")]
    early = [("start", "2026-03-10"), ("end", "2026-03-10T12:01:00Z")]
    [out] = (await ask(warehouse, "pages", late)).rows
    [entered] = (await ask(warehouse, "pages", early)).rows
    assert (out["pathname"], out["exits"]) == ("/out", 0)
    assert (entered["pathname"], entered["entries"], entered["avg_duration"]) == ("/in", 1, 120)


async def test_a_page_without_a_view_is_not_listed(warehouse: Warehouse) -> None:
    await insert(warehouse, make_event(pathname="/a"), make_event("signup", 5, pathname="/b"))
    assert [row["pathname"] for row in (await ask(warehouse, "pages")).rows] == ["/a"]


async def test_custom_events_are_listed_with_their_conversion(warehouse: Warehouse) -> None:
    await insert(
        warehouse,
        make_event(),
        make_event("signup", 1),
        make_event("signup", 2),
        make_event(visitor=2),
        make_event("engagement", 3, visitor=2),
    )
    rows = (await ask(warehouse, "events")).rows
    assert rows == [{"event_name": "signup", "total": 2, "unique_visitors": 1, "conversion_rate": 0.5}]


async def test_under_an_any_filter_lists_have_a_conversion_rate(warehouse: Warehouse) -> None:
    await insert(warehouse, make_event(), make_event("signup", 1), make_event(visitor=2), make_event(visitor=3))
    rows = (await ask(warehouse, "geo", [("filters", "any.event_name==signup")])).rows
    assert rows == [{"country": "DE", "region": "", "visitors": 1, "pageviews": 1, "conversion_rate": 0.3333}]


async def test_geo_knows_cities_when_asked(warehouse: Warehouse) -> None:
    await insert(warehouse, make_event(city="Köln", region="NRW"))
    [row] = (await ask(warehouse, "geo", [("detail", "city")])).rows
    assert row == {"country": "DE", "region": "NRW", "city": "Köln", "visitors": 1, "pageviews": 1}


async def test_lists_are_ranked_then_ordered_by_bytes_and_paged_without_loss(warehouse: Warehouse) -> None:
    paths = ["/b", "/B", "/ä", "/a", "/é/long", "/a/"]
    await insert(warehouse, *(make_event(visitor=number, pathname=path) for number, path in enumerate(paths)))
    await insert(warehouse, make_event(visitor=99, pathname="/top"), make_event(visitor=98, pathname="/top"))
    query = [("limit", "2")]
    found: list[object] = []
    while query:
        page = await ask(warehouse, "pages", query)
        found += [row["pathname"] for row in page.rows]
        assert page.meta["total"] == 7
        query = [("cursor", str(page.meta["cursor"]))] if page.meta["cursor"] else []
    assert found == ["/top", *sorted(paths, key=str.encode)]


async def test_each_row_is_compared_by_its_key(warehouse: Warehouse) -> None:
    await insert(warehouse, make_event(pathname="/a"), make_event(visitor=2, pathname="/b"))
    await insert(warehouse, make_event(at=-86400, pathname="/a"), make_event(at=-86400, visitor=3, pathname="/c"))
    rows = (await ask(warehouse, "pages", [("compare", "previous")])).rows
    compared = {row["pathname"]: row["compare"] for row in rows}
    assert compared["/a"] == {
        "visitors": 1,
        "pageviews": 1,
        "avg_duration": 0.0,
        "bounce_rate": 1.0,
        "entries": 1,
        "exits": 1,
        "scroll_depth": 0.0,
    }
    assert set(compared) == {"/a", "/b"}
    assert compared["/b"] == dict.fromkeys(compared["/a"], 0)


async def test_buckets_add_up_and_empty_ones_are_zero(warehouse: Warehouse) -> None:
    await insert(warehouse, make_event(), make_event(at=1700), make_event(at=3300), make_event(at=7200, visitor=2))
    answered = await ask(warehouse, "timeseries", [("compare", "previous")])
    busy = [row for row in answered.rows if row["visitors"]]
    assert len(answered.rows) == 24
    assert [(row["t"], row["visitors"], row["pageviews"], row["sessions"]) for row in busy] == [
        ("2026-03-10T12:00:00", 1, 3, 1),
        ("2026-03-10T14:00:00", 1, 1, 1),
    ]
    assert busy[0]["compare"] == {"visitors": 0, "pageviews": 0, "sessions": 0}
    assert answered.rows[0]["start"] == "2026-03-10T00:00:00Z"


async def test_one_site_of_two_is_a_part_of_both(warehouse: Warehouse) -> None:
    await insert(warehouse, make_event(), make_event(site_id=2), make_event(at=60, site_id=2))
    for report in ("stats", "timeseries", "referrers"):
        found = {}
        for sites in ("1", "2", "12"):
            rows = (await ask(warehouse, report, [("site", site) for site in sites])).rows
            found[sites] = [(row["visitors"], row["pageviews"]) for row in rows if row["visitors"]]
        assert found == {"1": [(1, 1)], "2": [(1, 2)], "12": [(2, 3)]}


async def test_a_visitor_is_here_once_where_the_latest_view_was(warehouse: Warehouse) -> None:
    await insert(
        warehouse,
        make_event(at=-301, visitor=1),
        make_event(at=-300, visitor=2),
        make_event(at=-299.999, visitor=3, pathname="/old"),
        make_event(at=0, visitor=3, pathname="/new"),
        make_event("signup", 0, visitor=4),
        make_event(at=MILLISECOND, visitor=5),
    )
    answered = await ask(warehouse, "realtime", now=NOON)
    assert [(row["pathname"], row["current_visitors"]) for row in answered.rows] == [("/new", 1)]
    assert answered.meta["current_visitors"] == 1


async def test_a_pattern_that_is_not_re2_is_named(warehouse: Warehouse) -> None:
    with pytest.raises(InvalidQuestionError, match="'\\(a' is not a regular expression"):
        await ask(warehouse, "stats", [("filters", '[["pathname", "=*", ["ok", "(a"]]]')])


async def test_meta_says_what_was_resolved(warehouse: Warehouse) -> None:
    query = [("period", "yesterday"), ("compare", "year"), ("timezone", "Europe/Berlin"), ("site", "two.example")]
    meta = (await ask(warehouse, "stats", query, now=datetime(2026, 3, 30, 10, tzinfo=UTC))).meta
    assert (meta["start"], meta["end"]) == ("2026-03-28T23:00:00.000Z", "2026-03-29T22:00:00.000Z")
    assert meta["timezone"] == "Europe/Berlin"
    assert meta["compare"] == {
        "kind": "year",
        "start": "2025-03-28T23:00:00.000Z",
        "end": "2025-03-29T23:00:00.000Z",
    }
    assert meta["sites"] == [{"id": 2, "domain": "two.example"}]


@pytest.mark.parametrize(
    ("tries", "asked_in_all", "found"),
    [(3, 3, [("DE", 1), ("FR", 1)]), (100, 5, [("DE", 2)])],
    ids=["asked again until both agree", "answered at last"],
)
async def test_a_value_that_lands_while_a_list_is_read_is_not_given_anothers_name(
    warehouse: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
    tries: int,
    asked_in_all: int,
    found: list[tuple[str, int]],
) -> None:
    """The list of values that a query has read first lacks the country of the sessions that it reads then."""
    await insert(warehouse, make_event(country="DE"), make_event(visitor=2, country="FR"))
    asked: list[str] = []
    query = warehouse.query

    async def with_old_values(sql: str, parameters: Mapping[str, object], limits: Limits) -> pa.Table:
        """Until the last try as the query would see it: without FR."""
        asked.append(sql)
        old = sql.replace(VALUES, f"{VALUES} country != 'FR' AND") if len(asked) < tries else sql
        assert (old == sql) == (len(asked) == tries)
        return await query(old, parameters, limits)

    monkeypatch.setattr(warehouse, "query", with_old_values)
    rows = (await ask(warehouse, "geo")).rows
    assert [(row["country"], row["visitors"]) for row in rows] == found
    assert len(asked) == asked_in_all
