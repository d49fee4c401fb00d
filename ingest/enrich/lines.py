"""Lines of blocks as columns: one call of pyarrow's JSON reader, then nothing is absent, odd or out of range."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from schemas.event import LINE_FIELDS
from schemas.zones import zone_names

if TYPE_CHECKING:
    from collections.abc import Mapping

UNKNOWN_DEPTH = -1
TYPES: Mapping[str, pa.DataType] = {"string": pa.string(), "int64": pa.int64(), "bool": pa.bool_()}
LINE_SCHEMA = pa.schema([pa.field(field.name, TYPES[field.kind]) for field in LINE_FIELDS])
REQUIRED = frozenset({"site_id", "ts", "received"})
DEFAULTS: Mapping[str, str | int | bool | None] = {
    **{field.name: field.default for field in LINE_FIELDS if field.name not in REQUIRED},
    "scroll_depth": UNKNOWN_DEPTH,
}
# What the columns of `events` can hold. A Date ends on 2149-06-06; a day is kept on both ends for time zones.
DAY = 86_400_000
RANGES: Mapping[str, tuple[int, int]] = {
    "site_id": (0, 2**32 - 1),
    "ts": (DAY, 65_534 * DAY),
    "received": (DAY, 65_534 * DAY),
    "engaged_ms": (0, 2**32 - 1),
    "scroll_depth": (UNKNOWN_DEPTH, 100),
    "attempt": (0, 2**31 - 1),
}


class UnreadableLinesError(ValueError):
    """At least one line is not what the collector writes; halve the lines to find it."""


def read_lines(body: bytes) -> pa.Table:
    """Give the lines as one chunk of `LINE_SCHEMA` without a null, in order; an absent field has its default.

    Everything that `enrich` relies on is made sure of here. Raise UnreadableLinesError: not JSON objects, a wrong
    type, a missing required field, text that is not UTF-8, a number that the warehouse cannot hold, an unknown zone.
    """
    if not body.strip():
        return LINE_SCHEMA.empty_table()
    try:
        body.decode()
        table = pyarrow.json.read_json(
            io.BytesIO(body),
            read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(body) + 1),
            parse_options=pyarrow.json.ParseOptions(explicit_schema=LINE_SCHEMA, unexpected_field_behavior="ignore"),
        )
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise UnreadableLinesError(str(error)[:200]) from error
    filled = pa.Table.from_arrays([fill(table, name) for name in LINE_SCHEMA.names], schema=LINE_SCHEMA)
    refuse_foreign_values(filled)
    return filled.combine_chunks()


def fill(table: pa.Table, name: str) -> pa.ChunkedArray:
    """Give the column with its default in place of nulls; raise UnreadableLinesError where there is none to put."""
    column = table.column(name)
    if not column.null_count:
        return column
    if name in REQUIRED:
        message = f"{name} is missing"
        raise UnreadableLinesError(message)
    return pc.fill_null(column, DEFAULTS[name])


def refuse_foreign_values(table: pa.Table) -> None:
    """Raise UnreadableLinesError for a number out of its range and a zone that the database does not know."""
    for name, (lowest, highest) in RANGES.items():
        found = pc.min_max(table.column(name))
        if table.num_rows and not lowest <= found["min"].as_py() <= found["max"].as_py() <= highest:
            message = f"{name} is out of range"
            raise UnreadableLinesError(message)
    unknown = set(pc.unique(table.column("site_timezone")).to_pylist()) - zone_names()
    if unknown:
        message = f"site_timezone {min(unknown)!r} is unknown"
        raise UnreadableLinesError(message)
