"""Enrichment against the model: what is sent becomes the events that METRICS.md says, whatever travels together."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from ingest.enrich.geo import open_geo
from ingest.enrich.pipeline import Enricher, EnrichMetrics, Facts, SiteFacts, read_lines
from tests.exactly.lines import to_body, write_places
from tests.model.arrive import to_event
from tests.model.records import Arrival
from tests.model.sent import Stream, streams

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from datetime import date

    from tests.model.records import Event

COMPARED = (
    "hostname",
    "pathname",
    "referrer",
    "referrer_source",
    "channel",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "country",
    "region",
    "city",
    "device_type",
    "browser",
    "os",
    "language",
)


@dataclass(frozen=True)
class Rig:
    """The product's enrichment with the places of the model."""

    enricher: Enricher
    places: Facts = field(repr=False)

    def enrich(self, arrivals: Sequence[Arrival], salts: dict[date, bytes]) -> list[dict[str, object]]:
        """Rows for arrivals that travel together."""
        sites = {one.sent.site.id: one.sent.site for one in arrivals}
        facts = Facts(
            {number: SiteFacts(site.domain, bytes([number]) * 32) for number, site in sites.items()},
            salts,
            self.places.geo,
        )
        lines = read_lines(to_body(arrivals))
        count = lines.num_rows
        positions = {"_log": np.ones(count), "_partition": np.zeros(count), "_offset": np.zeros(count)}
        for name, values in positions.items():
            lines = lines.append_column(name, pa.array(values.astype(np.int64)))
        lines = lines.append_column("_place", pa.array(np.arange(count)))
        rows: list[dict[str, object]] = self.enricher.enrich(lines, facts).to_pylist()
        return rows


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    geo = open_geo(write_places(tmp_path_factory.mktemp("places") / "test.mmdb"))
    return Rig(Enricher(EnrichMetrics(CollectorRegistry())), Facts({}, {}, geo))


@given(stream=streams(), cut=st.integers(1, 30))
def test_every_event_is_enriched_as_the_model_says(rig: Rig, stream: Stream, cut: int) -> None:
    records = [record for request in stream.requests for record in request.records]
    arrivals = [Arrival(record, 0, place) for place, record in enumerate(records)]
    days = {to_event(one).day for one in arrivals}
    near = {day + timedelta(days=step) for day in days for step in (-1, 0, 1)}
    salts = {day: day.isoformat().ljust(16).encode() for day in near}
    arrivals = [Arrival(one.sent, one.sent.ts, one.place) for one in arrivals]
    rows = [row for first in range(0, len(arrivals), cut) for row in rig.enrich(arrivals[first : first + cut], salts)]
    pairs = list(zip([to_event(one) for one in arrivals], rows, strict=True))
    for event, row in pairs:
        assert {name: row[name] for name in COMPARED} == {name: event.value(name) for name in COMPARED}
        assert _facts_of_row(row) == _facts_of(event)
    assert _are_the_same(pairs)


def _facts_of(event: Event) -> dict[str, object]:
    return {
        "local_date": event.day,
        "name": event.name,
        "bot": event.bot,
        "interactive": event.interactive,
        "engaged_ms": event.engaged_ms,
        "scroll_depth": event.scroll_depth,
        "props": dict(event.props),
    }


def _facts_of_row(row: dict[str, object]) -> dict[str, object]:
    facts = {name: row[name] for name in ("local_date", "name", "interactive", "engaged_ms", "scroll_depth")}
    return facts | {"bot": row["bot"] != "", "props": dict(row["props"])}  # type: ignore[call-overload]


def _are_the_same(pairs: Sequence[tuple[Event, dict[str, object]]]) -> bool:
    """Two events are of one visitor for the product when they are for the model, and never else."""
    seen: dict[Hashable, object] = {}
    for event, row in pairs:
        assert seen.setdefault((event.site, event.visitor), row["visitor_id"]) == row["visitor_id"]
    return len(set(seen.values())) == len(seen)
