"""THE table: every endpoint is one row. Routes, OpenAPI document and tests are folds over it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from aiohttp import web

from query_api.families import REPORTS
from query_api.guard import TOKEN
from query_api.handlers import (
    answer_geo,
    answer_ledger,
    answer_realtime,
    answer_report,
    answer_sites,
    answer_stream_token,
)
from query_api.operations import answer_status
from query_api.question import Report
from query_api.site_pages import NAMES as PAGE_NAMES
from query_api.site_pages import SITE_COLUMNS
from query_api.stream import LAST_ID, stream_realtime
from schemas import api

if TYPE_CHECKING:
    from pydantic import BaseModel

Handle = Callable[[web.Request, Report], Awaitable[web.StreamResponse]]
Opens = Literal["key", "token", "anybody"]
Shape = Literal["rows", "object", "stream"]

SITES = Report("sites", SITE_COLUMNS, (), PAGE_NAMES)
STATUS = Report("status", ("status", "version", "timestamp"), (), ())
TOKENS = Report("stream-tokens", (), (), ())
STREAM = replace(
    REPORTS["realtime"],
    parameters=tuple(name for name in REPORTS["realtime"].parameters if name != "format"),
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint. `row` is a row of `data`, or the whole answer of shape `object`; `opens` is who may ask.

    `own` are parameters beside those of the report; `required` those that must be there (a `period` stands for both).
    """

    method: Literal["GET", "POST"]
    path: str
    report: Report
    row: type[BaseModel]
    meta: type[BaseModel]
    handle: Handle
    summary: str
    opens: Opens = "key"
    shape: Shape = "rows"
    own: tuple[str, ...] = ()
    required: tuple[str, ...] = ()


def _report(name: str, row: type[BaseModel], summary: str) -> Endpoint:
    report = REPORTS[name]
    return Endpoint(
        "GET", f"/v1/{name}", report, row, api.ReportMeta, answer_report, summary, required=("start", "end")
    )


ENDPOINTS = (
    _report("stats", api.StatsRow, "The figures of a range: exactly one row, zeros where there is no data"),
    _report("pages", api.PageRow, "Pages, ranked by visitors"),
    _report("referrers", api.ReferrerRow, "Where visitors came from, ranked by visitors"),
    _report("timeseries", api.TimeseriesRow, "Figures by interval, empty buckets too"),
    Endpoint(
        "GET",
        "/v1/realtime",
        REPORTS["realtime"],
        api.RealtimeRow,
        api.RealtimeMeta,
        answer_realtime,
        "Who was here in the last five minutes",
    ),
    Endpoint(
        "GET",
        "/v1/realtime/stream",
        STREAM,
        api.RealtimeRow,
        api.RealtimeMeta,
        stream_realtime,
        "The same as Server-Sent Events: the whole state whenever it changes, a heartbeat every 15 s",
        opens="token",
        shape="stream",
        own=(TOKEN, LAST_ID),
    ),
    _report("events", api.EventRow, "Custom events, ranked by how often they happened"),
    replace(
        _report("geo", api.GeoRow, "Countries and regions (and cities), ranked by visitors"),
        meta=api.GeoMeta,
        handle=answer_geo,
    ),
    _report("devices", api.DeviceRow, "Devices, browsers and systems, ranked by visitors"),
    Endpoint("GET", "/v1/sites", SITES, api.SiteRow, api.SitesMeta, answer_sites, "The sites of the project"),
    Endpoint(
        "GET",
        "/v1/ledger",
        REPORTS["ledger"],
        api.LedgerRow,
        api.LedgerMeta,
        answer_ledger,
        "What became of every record received, by UTC hour of receipt",
        required=("start", "end"),
    ),
    Endpoint(
        "GET",
        "/v1/status",
        STATUS,
        api.StatusRow,
        api.EmptyMeta,
        answer_status,
        "Whether the server runs well",
        opens="anybody",
    ),
    Endpoint(
        "POST",
        "/v1/stream-tokens",
        TOKENS,
        api.StreamToken,
        api.EmptyMeta,
        answer_stream_token,
        "A token that opens one stream within 60 s, for a browser's EventSource",
        shape="object",
    ),
)
