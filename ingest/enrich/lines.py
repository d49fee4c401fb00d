"""Lines of blocks as columns: one call of pyarrow's JSON reader, then nothing is absent, odd or out of range."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Literal

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
# What the columns of `events` can hold. A Date ends on 2149-06-06; a day is kept on both ends for time zones. The hour
# of receipt is a DateTime wherever it is counted, and ends within it.
DAY, HOUR = 86_400_000, 3_600_000
RANGES: Mapping[str, tuple[int, int]] = {
    "site_id": (0, 2**32 - 1),
    "ts": (DAY, 65_534 * DAY),
    "received": (DAY, 2**32 * 1000 // HOUR * HOUR - 1),
    "engaged_ms": (0, 2**32 - 1),
    "scroll_depth": (UNKNOWN_DEPTH, 100),
    "attempt": (0, 2**31 - 1),
}


class UnreadableLinesError(ValueError):
    """At least one line is not what the collector writes; halve the lines to find it."""


class LineReader:
    """Reads bodies one after the other and knows which fields the lines had so far.

    A field that is named and not there costs 50 ns a line, of 2.3 us for all, and lines have half of the fields. So
    only those that were seen are named, and where a line has another its body is read again with all of them.
    """

    def __init__(self) -> None:
        self._seen = pa.schema([])
        self._later = False  # lines of a later version have fields that are not known here

    def read(self, body: bytes) -> pa.Table:
        """Give the lines as one chunk of `LINE_SCHEMA` without a null, in order; an absent field has its default.

        Everything that `enrich` relies on is made sure of here. Raise UnreadableLinesError: not JSON objects, a wrong
        type, a missing required field, text that is not UTF-8, a number that the warehouse cannot hold, an unknown
        zone.
        """
        if not body or body.isspace():
            return LINE_SCHEMA.empty_table()
        try:
            body.decode()
            table = self._parse(body)
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise UnreadableLinesError(str(error)[:200]) from error
        filled = pa.Table.from_arrays([fill(table, name) for name in LINE_SCHEMA.names], schema=LINE_SCHEMA)
        refuse_foreign_values(filled)
        return filled.combine_chunks()

    def _parse(self, body: bytes) -> pa.Table:
        if not self._later:
            with suppress(pa.ArrowException):
                return parse(body, self._seen, "error")
        table = parse(body, LINE_SCHEMA, "ignore")
        names = {name for name in LINE_SCHEMA.names if table.column(name).null_count < table.num_rows}
        self._later = names <= set(self._seen.names)
        self._seen = pa.schema([field for field in LINE_SCHEMA if field.name in names | set(self._seen.names)])
        return table


def read_lines(body: bytes) -> pa.Table:
    """Read one body: see `LineReader.read`."""
    return LineReader().read(body)


def parse(body: bytes, schema: pa.Schema, unexpected: Literal["error", "ignore"]) -> pa.Table:
    """Give the columns of the schema as they stand; raise ArrowException."""
    return pyarrow.json.read_json(
        pa.BufferReader(body),
        read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(body) + 1),
        parse_options=pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior=unexpected),
    )


def fill(table: pa.Table, name: str) -> pa.Array | pa.ChunkedArray:
    """Give the column with its default in place of nulls; raise UnreadableLinesError where there is none to put."""
    place = table.schema.get_field_index(name)
    if place >= 0 and not table.column(place).null_count:
        return table.column(place)
    if name in REQUIRED:
        message = f"{name} is missing"
        raise UnreadableLinesError(message)
    if place < 0:
        return pa.repeat(pa.scalar(DEFAULTS[name], LINE_SCHEMA.field(name).type), table.num_rows)
    return pc.fill_null(table.column(place), DEFAULTS[name])


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
