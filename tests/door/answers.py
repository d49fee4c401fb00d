"""The forms of an answer: status and headers as ClickHouse's HTTP interface gives them, bytes packed as asked for."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import TYPE_CHECKING

import lz4.frame  # type: ignore[import-untyped]
from aiohttp import web
from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.door.engine import Answer, EngineError

PACKERS: Mapping[str, Callable[[bytes], bytes]] = {
    "lz4": lz4.frame.compress,
    "zstd": zstd.compress,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
}
UNPACKERS: Mapping[str, Callable[[bytes], bytes]] = {
    "lz4": lz4.frame.decompress,
    "zstd": zstd.decompress,
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
}
# exceptionCodeToHTTPStatus of the server; everything else is 500.
STATUSES: Mapping[int, int] = (
    dict.fromkeys((6, 26, 27, 36, 38, 41, 53, 62, 70, 72, 117, 321, 427), 400)
    | dict.fromkeys((46, 47, 50, 56, 60, 63, 73, 81, 115, 336, 511), 404)
    | {194: 401, 193: 403, 192: 403, 516: 403, 512: 403, 159: 408, 411: 411, 223: 413, 48: 501, 76: 503, 209: 503}
)


def to_response(answer: Answer, query_id: str, settings: Mapping[str, str], accepted: str) -> web.Response:
    """The answer of a statement that worked."""
    headers = {
        "X-ClickHouse-Summary": json.dumps(answer.summary),
        "X-ClickHouse-Query-Id": query_id,
        "X-ClickHouse-Timezone": "UTC",
        "Content-Type": "application/octet-stream",
    }
    if answer.body:
        headers["X-ClickHouse-Format"] = answer.format
    if settings.get("send_progress_in_http_headers") == "1":
        headers["X-ClickHouse-Progress"] = json.dumps(answer.summary)
    packing = next((name for name in accepted.replace(" ", "").split(",") if name in PACKERS), "")
    if not packing or settings.get("enable_http_compression") != "1":
        return web.Response(body=answer.body, headers=headers)
    return web.Response(body=PACKERS[packing](answer.body), headers={**headers, "Content-Encoding": packing})


def to_failure(error: EngineError, query_id: str) -> web.Response:
    """The answer of a statement that failed: its exception as text, the code in a header."""
    headers = {"X-ClickHouse-Exception-Code": str(error.code), "X-ClickHouse-Query-Id": query_id}
    return web.Response(status=STATUSES.get(error.code, 500), text=f"{error.message}\n", headers=headers)
