"""What is copied of a warehouse, in which pieces, and by what both sides are compared.

Rows that carry a position of the log go in **chunks**: one log, one partition, one month, a range of positions, in
ascending order. One chunk is one insert. So the copy's own highest position per (log, partition, month) says exactly
what has been copied, as it says to a consumer what has landed: there is no other book to keep.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import pyarrow.compute as pc

from deploy.copying_ledger import PATIENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from schemas.warehouse.client import Warehouse

CHUNK_ROWS = 200_000
BUCKET = 64  # positions that are planned together
KEPT_IDS = 40 * 3_600_000  # an event id received before may soon be gone on one side and still be on the other
NO_MONTH = "toUInt32(0)"
# By position; the month is that of the table's own partitions.
POSITIONED: Mapping[str, str] = {
    "events": "toYYYYMM(local_date)",
    "duplicates": NO_MONTH,
    "dead_letters": NO_MONTH,
    "receipts": NO_MONTH,
}
WHOLE = ("marks", "batches", "erased")  # small ones
UNDER_WAY = ("erasing", "moving")  # must be empty
OWN = ("fences", "migrations")  # of each side
REPEATABLE = frozenset(
    {"receipts", "duplicates", "marks", "batches"}
)  # the same row may stand there twice and counts once
NEWEST = frozenset({"dead_letters", "erased"})  # of rows with one key only the newest counts
LIVING = {"batches": "made > now() - INTERVAL 28 DAY"}  # the rest goes by itself

HERE = """_log = {log:UInt16} AND _partition = {partition:UInt16}
    AND _offset >= {begin:UInt64} AND _offset < {end:UInt64} AND MONTH = {month:UInt32}
    AND ({site:UInt32} = 0 OR site_id = {site:UInt32})"""
BETWEEN = """({whole:Bool} OR (_log = {log:UInt16} AND _offset >= {since:Array(UInt64)}[_partition + 1]))
    AND (_log != {log:UInt16} OR {all:Bool} OR _offset < {below:Array(UInt64)}[_partition + 1])
    AND ({site:UInt32} = 0 OR site_id = {site:UInt32}) AND ({month:UInt32} = 0 OR MONTH = {month:UInt32})"""
COLUMNS = """
SELECT name FROM system.columns WHERE database = currentDatabase() AND table = {table:String} ORDER BY position
"""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows of one log partition and month at positions [begin, end); of one site where `site` is not 0."""

    table: str
    log: int
    partition: int
    month: int
    begin: int
    end: int
    rows: int  # about, when it was planned
    site: int = 0

    def to_parameters(self) -> dict[str, object]:
        """As the statements here take it."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in {"table", "rows"}}


@dataclass(frozen=True, slots=True)
class Span:
    """What is planned: of `log` the positions from `since` to `below` (None: from the first, to the last).

    Other logs only without `since`. `site` and `month` where they are not 0.
    """

    log: int
    since: Sequence[int] | None = None
    below: Sequence[int] | None = None
    site: int = 0
    month: int = 0

    def to_parameters(self) -> dict[str, object]:
        """As the statements here take it."""
        bounds = {"since": list(self.since or [0]), "below": list(self.below or [0])}
        switches = {"whole": self.since is None, "all": self.below is None}
        return {"log": self.log, "site": self.site, "month": self.month, **bounds, **switches}


class Measure(NamedTuple):
    """How many rows, and the sum of their hashes: what two copies are compared by."""

    rows: int
    checksum: int


class Piece(NamedTuple):
    """A chunk with its rows, and their measure with ids from `kept` on."""

    chunk: Chunk
    rows: pa.Table
    measure: Measure
    kept: int


class Month(NamedTuple):
    """A site's events of one month (of local dates)."""

    site: int
    month: int


async def plan(warehouse: Warehouse, table: str, span: Span) -> list[Chunk]:
    """The chunks of a table, in the order in which they must be copied."""
    month = POSITIONED[table]
    sql = f"""
    SELECT _log, _partition, {month} AS month, intDiv(_offset, {BUCKET}) AS bucket, count() AS rows FROM {table}
    WHERE {BETWEEN.replace("MONTH", month)} GROUP BY _log, _partition, month, bucket
    ORDER BY month, _log, _partition, bucket SETTINGS max_threads = 1
    """  # noqa: S608 - names of this module
    found = await warehouse.query(sql, span.to_parameters(), PATIENT)
    chunks: list[Chunk] = []
    for row in found.to_pylist():
        here = (table, row["_log"], row["_partition"], row["month"])
        begin, rows = row["bucket"] * BUCKET, row["rows"]
        last = chunks[-1] if chunks else None
        if last and (last.table, last.log, last.partition, last.month) == here and last.rows + rows <= CHUNK_ROWS:
            chunks[-1] = dataclasses.replace(last, end=begin + BUCKET, rows=last.rows + rows)
        else:
            chunks.append(Chunk(*here, begin, begin + BUCKET, rows, span.site))
    return [clip(chunk, span) for chunk in chunks]


def clip(chunk: Chunk, span: Span) -> Chunk:
    """The chunk without positions outside the span."""
    if chunk.log != span.log:
        return chunk
    begin = max(chunk.begin, span.since[chunk.partition]) if span.since else chunk.begin
    end = min(chunk.end, span.below[chunk.partition]) if span.below else chunk.end
    return dataclasses.replace(chunk, begin=begin, end=end)


async def read_chunk(warehouse: Warehouse, chunk: Chunk, kept: int) -> tuple[pa.Table, Measure]:
    """The rows of a chunk, and their measure by the engine that holds them."""
    hashed = await to_hash(warehouse, chunk.table)
    where = HERE.replace("MONTH", POSITIONED[chunk.table])
    return await read_hashed(warehouse, to_select(chunk.table, hashed, where), chunk.to_parameters() | {"kept": kept})


async def read_whole(warehouse: Warehouse, table: str, where: str, kept: int) -> tuple[pa.Table, Measure]:
    """The same of a small table, the rows that meet a condition."""
    hashed = await to_hash(warehouse, table)
    return await read_hashed(warehouse, to_select(table, hashed, where), {"kept": kept})


async def read_hashed(warehouse: Warehouse, sql: str, parameters: Mapping[str, object]) -> tuple[pa.Table, Measure]:
    """Rows without the column of their hashes, and the measure that it gives."""
    rows = await warehouse.query(f"{sql} SETTINGS max_threads = 1", parameters, PATIENT)
    hashes = rows.column("_hash").to_numpy()
    return rows.drop_columns(["_hash"]), Measure(rows.num_rows, int(hashes.sum(dtype="uint64")))


async def measure_chunk(warehouse: Warehouse, chunk: Chunk, kept: int) -> Measure:
    """What stands in the warehouse where the chunk belongs."""
    hashed = await to_hash(warehouse, chunk.table)
    select = to_select(chunk.table, hashed, HERE.replace("MONTH", POSITIONED[chunk.table]))
    return await read_measure(warehouse, select, chunk.to_parameters() | {"kept": kept})


async def measure_whole(warehouse: Warehouse, table: str, where: str, kept: int) -> Measure:
    """What a table holds, of rows that meet a condition."""
    select = to_select(table, await to_hash(warehouse, table), where)
    if table in {"receipts", "duplicates"}:  # FINAL reads in order, DISTINCT would keep all of it in memory
        select = select.replace("DISTINCT ", "").replace(f"FROM {table}", f"FROM {table} FINAL")
    return await read_measure(warehouse, select, {"kept": kept})


async def read_measure(warehouse: Warehouse, select: str, parameters: Mapping[str, object]) -> Measure:
    """The measure of the rows that a statement gives."""
    sql = f"SELECT count() AS rows, sum(_hash) AS checksum FROM ({select})"  # noqa: S608 - a text of this module
    row = (await warehouse.query(sql, parameters, PATIENT)).to_pylist()[0]
    return Measure(row["rows"], row["checksum"])


async def measure_months(
    warehouse: Warehouse, parameters: Mapping[str, object], where: str = "1"
) -> dict[Month, Measure]:
    """The events by site and month; `parameters` hold `kept` beside those of the condition."""
    hashed = await to_hash(warehouse, "events")
    sql = f"""
    SELECT site_id, toYYYYMM(local_date) AS month, count() AS rows, sum({hashed}) AS checksum FROM events
    WHERE {where} GROUP BY site_id, month
    """  # noqa: S608 - texts of this module
    rows = (await warehouse.query(sql, parameters, PATIENT)).to_pylist()
    return {Month(row["site_id"], row["month"]): Measure(row["rows"], row["checksum"]) for row in rows}


async def read_marks(warehouse: Warehouse, table: str) -> dict[tuple[int, int, int], int]:
    """The highest position that has been copied by (log, partition, month)."""
    month = POSITIONED[table]
    place = "_place" if table == "events" else "0"
    sql = f"""
    SELECT _log, _partition, {month} AS month, max((_offset, {place})) AS mark FROM {table}
    GROUP BY _log, _partition, {month}
    """  # noqa: S608 - names of this module
    rows = await warehouse.query(sql, None, PATIENT)
    offsets = pc.struct_field(rows.column("mark"), 0).to_pylist() if rows.num_rows else []
    keys = zip(*(rows.column(name).to_pylist() for name in ("_log", "_partition", "month")), strict=True)
    return dict(zip(keys, offsets, strict=True))


async def to_hash(warehouse: Warehouse, table: str) -> str:
    """SQL for the hash of a row, the same on both sides.

    Without what differs by itself: an event id is forgotten after 48 h, at the next merge; `kept` is the receipt time
    (epoch ms) from which on it is surely there.
    """
    names = (await warehouse.query(COLUMNS, {"table": table})).column("name").to_pylist()
    forgotten = "NOT ingest AND received < fromUnixTimestamp64Milli({kept:Int64})"
    columns = [f"if({forgotten}, 0, event_id)" if name == "event_id" else f"`{name}`" for name in names]
    return f"cityHash64({', '.join(columns)})"


def to_select(table: str, hashed: str, where: str) -> str:
    """Rows with their hashes, each once."""
    once = "DISTINCT " if table in REPEATABLE else ""
    final = " FINAL" if table in NEWEST else ""
    return f"SELECT {once}*, {hashed} AS _hash FROM {table}{final} WHERE {where}"  # noqa: S608 - texts of this module
