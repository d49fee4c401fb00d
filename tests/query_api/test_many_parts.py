"""The same figures from many parts and from one: what is read in parallel, in pieces, is put in order again."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING

from tests.query_api.events import NOON, ask, insert, make_event

if TYPE_CHECKING:
    from query_api.question import Row
    from schemas.warehouse.client import Warehouse
    from tests.query_api.events import Event

DAYS = [("start", "2026-03-09"), ("end", "2026-03-12")]
REPORTS = ("stats", "pages", "referrers", "timeseries", "geo", "devices", "events")
# A plain window over the rows, with none of our text.
CHECK = """
SELECT countIf(gap > 1800000) AS sessions, count() AS pageviews, uniqExact(visitor_id) AS visitors FROM
(
    SELECT visitor_id, toUnixTimestamp64Milli(ts) - toUnixTimestamp64Milli(
        lagInFrame(ts, 1, toDateTime64('1990-01-01 00:00:00', 3, 'UTC')) OVER visits) AS gap
    FROM events WHERE name = 'pageview'
    WINDOW visits AS (PARTITION BY local_date, visitor_id ORDER BY ts, _offset ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
)
"""


def make_events(count: int) -> list[Event]:
    """Few visitors and coarse times, so that much happens to one visitor, and some of it in one millisecond."""
    draw = random.Random(7)  # noqa: S311 - test data
    events = []
    for offset in range(1, count + 1):
        at = draw.randrange(0, 60_000, 20)
        day = timedelta(days=draw.randrange(3)) + NOON.replace(hour=0) - NOON
        values = {name: f"{name}{draw.randrange(4)}" for name in ("referrer_source", "country", "browser")}
        page = f"/{draw.randrange(9)}"
        event = make_event(at=day.total_seconds() + at, visitor=draw.randrange(400), pathname=page, **values)
        events.append(event | {"_offset": offset})
    return events


async def read_all(warehouse: Warehouse) -> dict[str, list[Row]]:
    return {report: (await ask(warehouse, report, DAYS)).rows for report in REPORTS}


async def test_parts_make_no_difference(warehouse: Warehouse) -> None:
    events = make_events(12_000)
    for start in range(0, len(events), 400):
        await insert(warehouse, *events[start : start + 400])
    in_parts = await read_all(warehouse)
    await warehouse.command("OPTIMIZE TABLE events FINAL")
    in_one = await read_all(warehouse)
    [expected] = (await warehouse.query(CHECK)).to_pylist()
    assert in_parts == in_one
    assert {name: in_one["stats"][0][name] for name in expected} == expected
    assert sum(int(str(row["sessions"])) for row in in_one["timeseries"]) == expected["sessions"]
