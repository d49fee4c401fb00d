"""The reports: one row per query endpoint. The handler, the SQL and the OpenAPI document are folds over this table."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from query_api.question import Report

if TYPE_CHECKING:
    from collections.abc import Mapping

SCOPE = ("site", "filters", "include_bots", "limit", "format")
RANGED = ("start", "end", "period", "compare", "timezone", *SCOPE)
LISTED = (*RANGED, "cursor")

ROWS = (
    Report(
        "stats",
        (),
        ("visitors", "pageviews", "sessions", "avg_duration", "bounce_rate", "events", "views_per_session"),
        RANGED,
    ),
    Report(
        "pages",
        ("pathname",),
        ("visitors", "pageviews", "avg_duration", "bounce_rate", "entries", "exits", "scroll_depth"),
        LISTED,
        limit=10,
    ),
    Report("referrers", ("referrer_source",), ("visitors", "pageviews", "bounce_rate"), LISTED, limit=10),
    Report("timeseries", ("t", "start"), ("visitors", "pageviews", "sessions"), (*RANGED, "interval")),
    Report("events", ("event_name",), ("total", "unique_visitors", "conversion_rate"), LISTED, limit=100),
    Report("geo", ("country", "region"), ("visitors", "pageviews"), (*LISTED, "detail"), limit=50),
    Report("devices", ("device_type", "browser", "os"), ("visitors", "pageviews"), LISTED, limit=50),
    Report(
        "realtime",
        ("pathname", "country", "device_type", "referrer_source"),
        ("current_visitors",),
        SCOPE,
        limit=100,
    ),
    Report(
        "ledger",
        ("hour",),
        ("received", "stored", "bots", "duplicate", "refused", "dead_lettered", "in_flight", "erased"),
        ("start", "end", "period", "timezone", "site", "format"),
    ),
)

REPORTS: Mapping[str, Report] = MappingProxyType({report.name: report for report in ROWS})

# Measures that are quotients; all others are whole numbers, but for the refusals by reason.
RATES = frozenset({"avg_duration", "bounce_rate", "views_per_session", "scroll_depth", "conversion_rate"})
COUNTS = frozenset(name for report in ROWS for name in report.measures) - RATES - {"refused"}
