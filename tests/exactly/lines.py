"""Sent records of the model as the collector's canonical lines, so that enrichment can be judged by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from mmdb_writer import MMDBWriter
from netaddr import IPSet  # type: ignore[import-untyped]  # no stubs

from tests.model.facts import PLACES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.model.records import Arrival


def to_body(arrivals: Iterable[Arrival]) -> bytes:
    """One line an arrival, every field written."""
    return b"\n".join(orjson.dumps(_to_line(arrival)) for arrival in arrivals)


def _to_line(arrival: Arrival) -> dict[str, object]:
    sent = arrival.sent
    amount, currency = sent.revenue or ("", "")
    line = {
        "site_id": sent.site.id,
        "event_id": sent.event_id,
        "name": sent.name,
        "url": sent.url,
        "referrer": sent.referrer,
        "title": sent.title,
        "props": orjson.dumps(dict(sent.props)).decode() if sent.props else "",
        "revenue_amount": amount,
        "revenue_currency": currency,
        "user_id": sent.user_id,
        "screen_width": sent.screen_width,
        "language": sent.language,
        "ts": sent.ts,
        "received": arrival.received,
        "address": sent.address,
        "user_agent": sent.user_agent,
        "interactive": sent.interactive,
        "engaged_ms": sent.engaged_ms,
        "attempt": sent.attempt,
        "site_timezone": sent.site.timezone,
    }
    return line | ({"scroll_depth": sent.scroll_depth} if sent.scroll_depth >= 0 else {})


def write_places(path: Path) -> Path:
    """Write the model's places as an MMDB in the shape of MaxMind's and DB-IP's."""
    writer = MMDBWriter(ip_version=6, database_type="Test-City", ipv4_compatible=True)
    for place in PLACES:
        record = {
            "country": {"iso_code": place.country},
            "subdivisions": [{"names": {"en": place.region}}] if place.region else [],
            "city": {"names": {"en": place.city}} if place.city else {},
        }
        writer.insert_network(IPSet([place.network]), record)
    writer.to_db_file(str(path))
    return path
