"""One insert over HTTP, sent once, and what its answer says about the rows.

*Wholly there:* the server answers 200 and its summary counts as many written rows as were sent.

*Certainly nothing:* no connection came about; or the server answers with the code of an exception that it throws before
the first row is written (`BEFORE_WRITING`: who asks, what is asked, the bytes of the body, no room, the fence). A block
is written when its body has been read to the end, so an error in the body leaves nothing either.

*Unknown (WarehouseUnknownError):* everything else. No answer, a late one, one of a proxy, a summary with another count;
and every other exception, since a query can be stopped, or run out of time or memory, after its part was put to use.
"""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pyarrow as pa
from clickhouse_connect.driver.binding import bind_query
from urllib3.exceptions import HTTPError

from schemas.warehouse.errors import (
    WarehouseDiskError,
    WarehouseError,
    WarehouseFencedError,
    WarehouseUnknownError,
)
from schemas.warehouse.fence import FENCED, to_condition
from schemas.warehouse.handle import MOVED
from schemas.warehouse.server import BEFORE_WRITING, WHOLE_ANSWER, never_sent, to_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from urllib3.response import BaseHTTPResponse

    from schemas.warehouse.fence import Fence
    from schemas.warehouse.server import Server

GRACE_SECONDS = 10.0  # that an answer may come after the server's own limit
NO_SPACE = 243
COLUMNS = "SELECT name, type FROM system.columns WHERE database = {database:String} AND table = {table:String}"


def to_plain_insert(table: str, names: Sequence[str]) -> str:
    """The INSERT of an Arrow stream with these columns."""
    return f"INSERT INTO {table} ({', '.join(map(quote_name, names))}) FORMAT ArrowStream"


def to_fenced_insert(table: str, columns: Mapping[str, str], fences: str) -> str:
    """The INSERT of an Arrow stream with these columns (name to type), which the table of fences may refuse."""
    names = ", ".join(map(quote_name, columns))
    structure = ", ".join(f"{quote_name(name)} {kind}" for name, kind in columns.items())
    text = structure.replace("\\", "\\\\").replace("'", "\\'")
    source = f"input('{text}') WHERE NOT {to_condition(fences)}"
    return f"INSERT INTO {table} ({names}) SELECT {names} FROM {source} FORMAT ArrowStream"  # noqa: S608 - names that exist


def quote_name(name: str) -> str:
    """An identifier of SQL."""
    return f"`{name.replace(chr(92), chr(92) * 2).replace('`', chr(92) + '`')}`"


def to_body(rows: pa.Table) -> bytes:
    """The rows as an Arrow stream of one record batch, its buffers packed by lz4."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_stream(sink, rows.schema, options=options) as writer:
        writer.write_table(rows.combine_chunks())
    return bytes(memoryview(sink.getvalue()))


def read_columns(server: Server, table: str) -> dict[str, str]:
    """Name and type of each column that the table has now."""
    found = server.client.query(COLUMNS, {"database": server.client.database, "table": table}).result_rows
    return {str(name): str(kind) for name, kind in found}


def pick_columns(known: Mapping[str, str], names: Sequence[str], table: str) -> dict[str, str]:
    """The columns of the rows with their types; raise WarehouseError when the table has not all of them."""
    missing = [name for name in names if name not in known]
    if missing:
        message = f"{table} has no column {', '.join(missing)}"
        raise WarehouseError(message)
    return {name: known[name] for name in names}


def send_insert(server: Server, statement: str, rows: pa.Table, fence: Fence | None) -> None:
    """Send it once and return if every row is there; raise what is said above."""
    sql, bound = bind_query(statement, fence.to_parameters() if fence else {})
    seconds = server.address.insert_seconds
    parameters = {
        **server.client.params,  # type: ignore[attr-defined]  # the pinned settings, as every request has them
        **WHOLE_ANSWER,
        **bound,
        "max_execution_time": seconds,
        "log_comment": fence.tag if fence else "pulse",
        "database": server.client.database,
        "query": sql,
    }
    timeout = server.wait_at_most(seconds + GRACE_SECONDS)
    url = f"{server.client.uri}/?{urlencode(parameters)}"
    body = to_body(rows)
    try:
        response = server.pool.request(
            "POST", url, body=body, headers=to_headers(server), timeout=timeout, retries=False
        )
    except HTTPError as error:
        message = f"{server.host}: {to_line(error)}"
        raise WarehouseError(message) if never_sent(error) else WarehouseUnknownError(message) from error
    refuse_failed(response, rows.num_rows)


def to_headers(server: Server) -> dict[str, str]:
    """Who asks, and what the body is. In a header of their own, names and passwords could be of Latin-1 alone."""
    credentials = f"{server.address.user}:{server.address.password}"
    return {
        "Authorization": f"Basic {b64encode(credentials.encode()).decode()}",
        "Content-Type": "application/octet-stream",
        "User-Agent": "pulse",
    }


def refuse_failed(response: BaseHTTPResponse, rows: int) -> None:
    """Return if the answer says that so many rows were written; else raise what it means."""
    code = response.headers.get("X-ClickHouse-Exception-Code", "")
    text = response.data[:1000].decode(errors="replace").strip()
    if response.status != 200 or code:  # noqa: PLR2004 - HTTP's word for success
        raise to_refusal(int(code) if code.isdigit() else 0, text or f"HTTP status {response.status}")
    written = read_written(response.headers.get("X-ClickHouse-Summary", ""))
    if written != rows:
        message = f"sent {rows} rows, the server says that {written} were written"
        raise WarehouseUnknownError(message)


def to_refusal(code: int, text: str) -> WarehouseError:
    """The error for an exception of the server; a code of 0 is none of its own, but a proxy's answer."""
    if code == MOVED and FENCED in text:
        return WarehouseFencedError(text)
    if code == NO_SPACE:
        return WarehouseDiskError(text)
    return WarehouseError(text) if code in BEFORE_WRITING else WarehouseUnknownError(text)


def read_written(summary: str) -> int:
    """The rows that a summary counts; -1 when there is none."""
    try:
        return int(json.loads(summary)["written_rows"])
    except (ValueError, KeyError, TypeError):
        return -1
