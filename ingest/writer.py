"""Lands one batch in the warehouse so that every row is there exactly once, whatever fails in between.

Order: the months of `events` one after the other, then duplicates and dead letters, then the receipts. The receipts are
one part: they say that all before them has landed. Nothing here trusts the deduplication of inserts; after a failure
the positions that are stored are read back, and only the others are sent again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import structlog

from ingest.block_lines import HOUR, to_bad_lines, to_hour
from ingest.log import LogUnavailableError
from ingest.progress import read_stored
from ingest.retrying import retrying
from schemas.event import ReceiptCount, SiteId
from schemas.warehouse.errors import WarehouseDiskError, WarehouseError, WarehouseLimitError, WarehouseUnknownError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    import stamina
    from numpy.typing import NDArray

    from ingest.block_lines import BadLine
    from ingest.dead_letters import DeadLetter, DeadLetters
    from ingest.log import Record
    from ingest.progress import Positions
    from schemas.warehouse.client import Warehouse
    from schemas.warehouse.fence import Fence

PROBE_AFTER = 3  # failures of one insert before its rows are suspected
logger = structlog.get_logger()

EMPTY_ROW = pa.table({"title": [""]})
RECEIPTS = pa.schema(
    [
        ("site_id", pa.uint32()),
        ("hour", pa.uint32()),
        ("_log", pa.uint16()),
        ("_partition", pa.uint16()),
        ("_offset", pa.uint64()),
        ("reason", pa.string()),
        ("records", pa.uint32()),
    ]
)


@dataclass(frozen=True, slots=True)
class Landing:
    """What a batch is about to leave in the warehouse.

    `is_known` says that the batch is in the table `batches` already. `retried` are dead letters with the blocks among
    `records` that retry them.
    """

    begins: Positions
    ends: Positions
    is_known: bool
    events: pa.Table
    duplicates: pa.Table
    bad: Sequence[BadLine]
    records: Sequence[Record]
    retried: Sequence[tuple[DeadLetter, Record]]


def no_failpoint(_name: str) -> None:
    """The failpoint of the product: nothing happens."""


class Writer:
    """Writes the batches of one stint, one at a time; waits for a warehouse that is down as long as it takes.

    Raise WarehouseFencedError, WarehouseUnknownError: the stint is over.
    `failpoint` is called with the name of each place between two writes: `month`, `events`, `judged`, `receipts`.
    """

    def __init__(
        self, warehouse: Warehouse, number: int, dead_letters: DeadLetters, failpoint: Callable[[str], None]
    ) -> None:
        self._warehouse = warehouse
        self._number = number
        self._dead_letters = dead_letters
        self._failpoint = failpoint
        self.fence: Fence | None = None  # none on the embedded engine, which has one process
        self.failures = 0

    async def land(self, landing: Landing) -> None:
        """Return when everything has landed."""
        months = to_months(landing.events)
        if len(months) > 1 and not landing.is_known:
            await self._insert("batches", self._to_batch(landing))
        bad = list(landing.bad)
        for rows in months:
            bad += await self._land_month(landing, rows)
            self._failpoint("month")
        self._failpoint("events")
        await self._insert("duplicates", self._to_duplicates(landing.duplicates))
        await self._persist(lambda: self._dead_letters.write(bad, self.fence))
        await self._persist(lambda: self._dead_letters.mark_retried(landing.retried, self.fence))
        self._failpoint("judged")
        await self._insert("receipts", to_receipts(landing.records, self._number))
        self._failpoint("receipts")

    async def _land_month(self, landing: Landing, rows: pa.Table) -> Sequence[BadLine]:
        """Insert the rows of one month as one part; give those that the engine will never take."""
        bad: list[BadLine] = []
        async for attempt in self._attempts():
            with attempt:
                if attempt.num > 1:
                    rows = await self._without_stored(landing, rows)
                if attempt.num % PROBE_AFTER == 0:
                    refused = await self._find_refused(rows)
                    bad += to_bad_lines(rows.filter(pa.array(refused)), landing.records, "refused by the warehouse")
                    rows = rows.filter(pa.array(~refused))
                await self._count_failure(self._warehouse.insert("events", without_empty_columns(rows), self.fence))
        return bad

    async def _without_stored(self, landing: Landing, rows: pa.Table) -> pa.Table:
        """Leave out rows that are stored: an insert may fail after its part was made."""
        months = np.unique(to_month_numbers(rows)).tolist()
        stored = await read_stored(self._warehouse, self._number, landing.begins, months)
        columns = rows.select(["_partition", "_offset", "_place"]).to_pydict()
        kept = [position not in stored for position in zip(*columns.values(), strict=True)]
        return rows.filter(pa.array(kept, pa.bool_()))

    async def _find_refused(self, rows: pa.Table) -> NDArray[np.bool_]:
        """Say which rows the engine cannot read, by halves, in a table that keeps nothing."""
        if await self._passes(rows):
            return np.zeros(rows.num_rows, np.bool_)
        if rows.num_rows == 1:
            return np.array([await self._is_to_blame(rows)])
        middle = rows.num_rows // 2
        return np.concatenate([await self._find_refused(half) for half in (rows.slice(0, middle), rows.slice(middle))])

    async def _passes(self, rows: pa.Table) -> bool:
        try:
            await self._warehouse.insert("probe", rows)
        except (WarehouseLimitError, WarehouseDiskError, WarehouseUnknownError):
            raise
        except WarehouseError:
            return False
        return True

    async def _is_to_blame(self, row: pa.Table) -> bool:
        """Whether the row is refused though an empty one passes; raise WarehouseError when that does not either.

        The row is asked again after the empty one, since the warehouse may have come back in between.
        """
        await self._warehouse.insert("probe", EMPTY_ROW)
        return not await self._passes(row)

    async def _insert(self, table: str, rows: pa.Table) -> None:
        await self._persist(lambda: self._warehouse.insert(table, rows, self.fence))

    async def _persist(self, write: Callable[[], Awaitable[None]]) -> None:
        async for attempt in self._attempts():
            with attempt:
                await self._count_failure(write())

    async def _count_failure(self, write: Awaitable[None]) -> None:
        try:
            await write
        except WarehouseError as error:
            self.failures += 1
            logger.warning("warehouse_unavailable", failures=self.failures, problem=str(error)[:200])
            raise
        self.failures = 0

    def _attempts(self) -> AsyncIterator[stamina.Attempt]:
        return retrying(LogUnavailableError)  # which takes the bytes of dead letters

    def _to_batch(self, landing: Landing) -> pa.Table:
        partitions = list(landing.begins)
        begins, ends = ([of[partition] for partition in partitions] for of in (landing.begins, landing.ends))
        columns = [pa.array([self._number], pa.uint16()), pa.array([partitions], pa.list_(pa.uint16()))]
        columns += [pa.array([positions], pa.list_(pa.uint64())) for positions in (begins, ends)]
        return pa.table(columns, ["_log", "partitions", "begins", "ends"])

    def _to_duplicates(self, events: pa.Table) -> pa.Table:
        """Rows of `duplicates` for events that are none."""
        hours = to_hours(events)
        kept = events.select(["site_id", "_log", "_partition", "_offset", "_place"])
        return kept.append_column("hour", pa.array(hours, pa.uint32()))


def without_empty_columns(events: pa.Table) -> pa.Table:
    """Leave out columns of text or properties that say nothing in any row: the engine writes the same by itself.

    A batch has a dozen of them (UTM, place, revenue), which cost a quarter of the insert.
    """
    return events.select([name for name in events.column_names if not is_empty(events.column(name))])


def is_empty(column: pa.ChunkedArray) -> bool:
    """Whether every row is the empty text, or has no properties; False for columns of other kinds."""
    if pa.types.is_dictionary(column.type):
        return all(len(chunk.dictionary) == 1 and chunk.dictionary[0].as_py() == "" for chunk in column.chunks)
    if pa.types.is_map(column.type):
        return all(chunk.offsets[0] == chunk.offsets[-1] for chunk in column.chunks)
    return bool(pa.types.is_string(column.type) and pc.max(pc.binary_length(column)).as_py() == 0)


def to_month_numbers(events: pa.Table) -> NDArray[np.int64]:
    """The month of each row as toYYYYMM(local_date)."""
    days = events.column("local_date").cast(pa.int32()).to_numpy().astype("datetime64[D]")
    months: NDArray[np.int64] = days.astype("datetime64[M]").astype(np.int64)
    return (1970 + months // 12) * 100 + months % 12 + 1


def to_months(events: pa.Table) -> Sequence[pa.Table]:
    """The rows of each month, the earliest month first; within one in their order."""
    numbers = to_month_numbers(events)
    months = np.unique(numbers)
    if len(months) < 2:  # noqa: PLR2004 (nothing to take apart)
        return [events] if events.num_rows else []
    return [events.filter(pa.array(numbers == month)).combine_chunks() for month in months]


def to_hours(events: pa.Table) -> NDArray[np.int64]:
    """The hour of receipt of each row, epoch seconds."""
    seconds: NDArray[np.int64] = events.column("received").cast(pa.int64()).to_numpy() // 1000
    return seconds // HOUR * HOUR


def to_receipts(records: Sequence[Record], number: int) -> pa.Table:
    """Rows of `receipts`: what the headers count, and for a block that counts nothing a row of site 0."""
    rows = [
        (count.site_id, count.hour, number, record.partition, record.position, count.reason, count.count)
        for record in records
        for count in record.headers.counts or (ReceiptCount(SiteId(0), to_hour(record.headers.last_received), "", 0),)
    ]
    columns = list(zip(*rows, strict=True)) or [()] * len(RECEIPTS)
    return pa.table(
        [pa.array(column, kind) for column, kind in zip(columns, RECEIPTS.types, strict=True)], RECEIPTS.names
    )
