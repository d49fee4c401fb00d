"""From lines to rows of `events`: a tuple of named steps, each working on the distinct values of its columns.

The rows are a pure function of lines and facts: the same on every machine and at every replay.
"""

from __future__ import annotations

from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa
from prometheus_client import Counter

from ingest.enrich.batch import Batch, Memory
from ingest.enrich.bots import add_bots
from ingest.enrich.client import add_client
from ingest.enrich.days import local_days
from ingest.enrich.device import add_device
from ingest.enrich.event_ids import hash_event_ids
from ingest.enrich.facts import Facts, MissingFactsError, SiteFacts
from ingest.enrich.lines import LINE_SCHEMA, UnreadableLinesError, read_lines
from ingest.enrich.page import add_page
from ingest.enrich.place import add_place
from ingest.enrich.props import add_props
from ingest.enrich.record import add_day, add_record
from ingest.enrich.revenue import add_revenue
from ingest.enrich.source import add_source
from ingest.enrich.sources import read_register
from ingest.enrich.visitor import add_visitor

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

    from ingest.enrich.columns import Columns

    Step: TypeAlias = Callable[[Batch, Columns], Columns]

__all__ = [
    "EVENT_COLUMNS",
    "LINE_SCHEMA",
    "STEPS",
    "EnrichMetrics",
    "Enricher",
    "Facts",
    "MissingFactsError",
    "SiteFacts",
    "UnreadableLinesError",
    "hash_event_ids",
    "local_days",
    "read_lines",
]

STEPS: tuple[Step, ...] = (
    add_record,
    add_day,
    add_page,
    add_bots,
    add_place,
    add_device,
    add_source,
    add_client,
    add_visitor,
    add_revenue,
    add_props,
)
# The columns of schemas/warehouse/001_events.sql in their order; a test compares them.
EVENT_COLUMNS = [
    "site_id",
    "local_date",
    "visitor_id",
    "ts",
    "_log",
    "_partition",
    "_offset",
    "_place",
    "received",
    "event_id",
    "ingest",
    "name",
    "interactive",
    "identified",
    "bot",
    "hostname",
    "pathname",
    "title",
    "referrer",
    "referrer_source",
    "channel",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_content",
    "utm_term",
    "click_id",
    "country",
    "region",
    "city",
    "device_type",
    "browser",
    "browser_version",
    "os",
    "os_version",
    "language",
    "screen",
    "timezone",
    "engaged_ms",
    "scroll_depth",
    "revenue_amount",
    "revenue_currency",
    "props",
]


class EnrichMetrics:
    """What enrichment costs, by step."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics."""
        self.events = Counter("pulse_enriched_events_total", "Events enriched", registry=registry)
        self.seconds = Counter(
            "pulse_enrich_step_seconds_total", "Time spent in a step of enrichment", ["step"], registry=registry
        )


class Enricher:
    """Runs the steps. Remembers values between batches; only its speed depends on what it remembers."""

    def __init__(self, metrics: EnrichMetrics) -> None:
        """Nothing is loaded yet."""
        self._metrics = metrics

    def load(self) -> None:
        """Load the lists now (half a second) and not at the first batch."""
        _ = self._memory

    @cached_property
    def _memory(self) -> Memory:
        return Memory(read_register())

    def enrich(self, lines: pa.Table, facts: Facts) -> pa.Table:
        """Give the rows of `events` for lines of `read_lines` with `_log`, `_partition`, `_offset` and `_place`.

        Raise MissingFactsError when `facts` lacks a site, or a salt of `local_days(lines)`; nothing else.
        """
        batch = Batch(lines, facts, self._memory)
        columns: dict[str, pa.Array] = {}
        for step in STEPS:
            begun = perf_counter()
            columns |= step(batch, columns)
            self._metrics.seconds.labels(step.__name__).inc(perf_counter() - begun)
        self._metrics.events.inc(lines.num_rows)
        return pa.table([columns[name] for name in EVENT_COLUMNS], list(EVENT_COLUMNS))
