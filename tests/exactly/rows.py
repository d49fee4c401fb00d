"""Stored events of the model as rows of the warehouse's `events` table, so that queries can be judged by themselves."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import TYPE_CHECKING

import pyarrow as pa

from tests.model.records import SESSION_DIMENSIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.model.records import Event

BLOCK = 3  # lines in a block: small, so that order needs offset and place
INSTANT = pa.timestamp("ms", tz="UTC")
NUMBERS = {
    "site_id": pa.uint32(),
    "local_date": pa.date32(),
    "visitor_id": pa.uint64(),
    "ts": INSTANT,
    "_log": pa.uint16(),
    "_partition": pa.uint16(),
    "_offset": pa.uint64(),
    "_place": pa.uint32(),
    "received": INSTANT,
    "event_id": pa.uint64(),
    "ingest": pa.bool_(),
    "interactive": pa.bool_(),
    "identified": pa.bool_(),
    "engaged_ms": pa.uint32(),
    "scroll_depth": pa.int16(),
    "revenue_amount": pa.decimal128(18, 4),
    "props": pa.map_(pa.string(), pa.string()),
}
TEXTS = (
    "name",
    "bot",
    "hostname",
    "pathname",
    "title",
    *SESSION_DIMENSIONS[2:],
    "click_id",
    "timezone",
    "revenue_currency",
)
SCHEMA = pa.schema([*NUMBERS.items(), *((name, pa.string()) for name in TEXTS)])


def to_rows(events: Sequence[Event], first_site: int) -> pa.Table:
    """All columns of `events`; the sites become `first_site` + their id."""
    return pa.Table.from_pylist([_to_row(event, first_site) for event in events], schema=SCHEMA)


def _to_row(event: Event, first_site: int) -> dict[str, object]:
    texts = {name: event.value(name) for name in TEXTS}
    return texts | {
        "site_id": first_site + event.site,
        "local_date": event.day,
        "visitor_id": to_visitor_id(event),
        "ts": event.ts,
        "_log": 1,
        "_partition": to_visitor_id(event) % 2,
        "_offset": event.place // BLOCK,
        "_place": event.place % BLOCK,
        "received": event.ts,
        "event_id": 0,
        "ingest": True,
        "name": event.name,
        "interactive": event.interactive,
        "identified": False,
        "bot": "ua" if event.bot else "",
        "engaged_ms": event.engaged_ms,
        "scroll_depth": event.scroll_depth,
        "revenue_amount": Decimal(0),
        "props": list(event.props.items()),
    }


def to_visitor_id(event: Event) -> int:
    """Some 64-bit number that stands for the model's visitor."""
    return int.from_bytes(hashlib.blake2b(repr(event.visitor).encode(), digest_size=8).digest())
