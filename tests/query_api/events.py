"""Rows of `events` for tests: one maker, and how they get into the warehouse."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa

from query_api.families import REPORTS
from query_api.params import parse_question
from query_api.question import Access, SiteView
from query_api.reports import answer
from schemas.event import SiteId
from schemas.warehouse.client import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from query_api.question import Answer
    from schemas.warehouse.client import Warehouse

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
NOW = datetime(2026, 3, 20, 10, tzinfo=UTC)
ACCESS = Access((SiteView(SiteId(1), "one.example", "UTC"), SiteView(SiteId(2), "two.example", "UTC")))
DAY = (("start", "2026-03-10"), ("end", "2026-03-10"))
TYPES = {
    "site_id": pa.uint32(),
    "local_date": pa.date32(),
    "visitor_id": pa.uint64(),
    "ts": pa.timestamp("ms", "UTC"),
    "_log": pa.uint16(),
    "_partition": pa.uint16(),
    "_offset": pa.uint64(),
    "_place": pa.uint32(),
    "received": pa.timestamp("ms", "UTC"),
    "interactive": pa.bool_(),
    "engaged_ms": pa.uint32(),
    "scroll_depth": pa.int16(),
    "props": pa.map_(pa.string(), pa.string()),
}

Scalar = str | int | bool | datetime | date | list[tuple[str, str]]
Event = dict[str, Scalar]


def make_event(name: str = "pageview", at: float = 0, visitor: int = 1, **more: Scalar) -> Event:
    """An event `at` seconds after noon of 10 March 2026; `more` are columns of the table."""
    ts = NOON + timedelta(seconds=at)
    event: Event = {
        "site_id": 1,
        "local_date": ts.date(),
        "visitor_id": visitor,
        "ts": ts,
        "_log": 1,
        "_partition": 0,
        "_offset": 0,
        "_place": 0,
        "received": ts,
        "name": name,
        "interactive": True,
        "pathname": "/",
        "hostname": "one.example",
        "referrer_source": "Direct",
        "country": "DE",
        "region": "",
        "city": "",
        "device_type": "desktop",
        "browser": "Firefox",
        "os": "Linux",
        "bot": "",
        "engaged_ms": 0,
        "scroll_depth": -1,
        "props": [],
    }
    return event | more


async def insert(warehouse: Warehouse, *events: Event) -> None:
    """One part; events without a position of their own are in the order of the call."""
    placed = [event if event["_offset"] else event | {"_place": place} for place, event in enumerate(events)]
    columns = {name: pa.array([event[name] for event in placed], TYPES.get(name, pa.string())) for name in make_event()}
    await warehouse.insert("events", pa.table(columns))


async def ask(warehouse: Warehouse, report: str, query: Sequence[tuple[str, str]] = (), now: datetime = NOW) -> Answer:
    """The answer to a question about the one day of `make_event`, unless the query names a range."""
    named = report == "realtime" or {"start", "period", "cursor"} & {name for name, _ in query}
    pairs = [*query] if named else [*DAY, *query]
    return await answer(parse_question(REPORTS[report], pairs, ACCESS, now), warehouse, now, Limits())
