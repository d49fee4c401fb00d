"""The new warehouse as a promotion fills it: chunk by chunk, each exactly once, each compared after it was written.

Every insert carries a fence of its log, taken over at the start: an insert of an earlier run that still runs is killed
by that, and one that comes later is refused. So a chunk whose answer was lost is found out by reading.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import stamina

from deploy.copying import Measure, measure_chunk, read_marks
from deploy.terminal import CommandError
from ingest.fences import take_over
from schemas.warehouse.errors import WarehouseError, WarehouseFencedError, WarehouseUnknownError
from schemas.warehouse.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

    import pyarrow as pa

    from deploy.copying import Chunk, Piece
    from schemas.warehouse.client import Warehouse
    from schemas.warehouse.fence import Fence

PATIENCE_SECONDS = 300.0
OWNERS = "SELECT DISTINCT owner FROM fences"
FOREIGN = """
SELECT table, rows FROM
(
    SELECT 'events' AS table, count() AS rows FROM events UNION ALL SELECT 'receipts', count() FROM receipts
    UNION ALL SELECT 'duplicates', count() FROM duplicates UNION ALL SELECT 'dead_letters', count() FROM dead_letters
    UNION ALL SELECT 'erased', count() FROM erased UNION ALL SELECT 'fences', count() FROM fences
)
WHERE rows > 0 ORDER BY table
"""


class Target:
    """Writes into the new warehouse as `member`, a name that no other promotion has."""

    def __init__(self, warehouse: Warehouse, member: str) -> None:
        self.warehouse = warehouse
        self._member = member
        self._fences: dict[int, Fence] = {}

    async def prepare(self) -> None:
        """Make the tables; raise CommandError where the warehouse holds what is not of this promotion."""
        await self._patiently(lambda: migrate(self.warehouse))
        owners = (await self.warehouse.query(OWNERS)).column("owner").to_pylist()
        found = (await self.warehouse.query(FOREIGN)).to_pylist()
        if found and not any(owner.startswith(f"{self._member}-") for owner in owners):
            held = ", ".join(f"{row['rows']} {row['table']}" for row in found)
            message = f"the new warehouse is not empty ({held}), and not by this promotion: name an empty database"
            raise CommandError(message)

    async def take_over(self, log: int, partitions: Iterable[int]) -> None:
        """Fence off every earlier writer of these partitions of a log."""
        numbers = sorted(partitions)

        async def take() -> None:
            self._fences[log] = await take_over(self.warehouse, log, numbers, self._member)

        await self._patiently(take)

    async def read_marks(self, table: str) -> Mapping[tuple[int, int, int], int]:
        """What has been copied of a table."""
        return await read_marks(self.warehouse, table)

    async def write_chunk(self, piece: Piece) -> None:
        """Write the rows of a chunk that is not there, and compare; raise CommandError where they are not the same."""
        async for attempt in attempts():
            with attempt:
                if attempt.num == 1 or not await self._is_there(piece):
                    await self._insert(piece.chunk, piece.rows)
        if not await self._is_there(piece):
            raise CommandError(to_difference(piece, Measure(0, 0)))

    async def write_whole(self, table: str, rows: pa.Table, *, anew: bool) -> None:
        """Write all rows of a small table, in place of what it holds where `anew`."""
        if anew:
            await self.command(f"TRUNCATE TABLE {table}")

        async def insert() -> None:
            await self.warehouse.insert(table, rows)

        await self._patiently(insert)

    async def command(self, sql: str, parameters: Mapping[str, object] | None = None) -> None:
        """Run what may be run again."""
        await self._patiently(lambda: self.warehouse.command(sql, parameters))

    async def _insert(self, chunk: Chunk, rows: pa.Table) -> None:
        fence = self._fences[chunk.log]
        try:
            await self.warehouse.insert(chunk.table, rows, fence)
        except WarehouseFencedError as error:
            message = "somebody else writes into the new warehouse for this log: another promotion, or a consumer"
            raise CommandError(message) from error
        except WarehouseUnknownError:
            await self.take_over(chunk.log, fence.epochs)  # afterwards it has landed, or never will
            raise

    async def _is_there(self, piece: Piece) -> bool:
        """Whether the chunk has landed; raise CommandError where something else stands in its place."""
        found = await measure_chunk(self.warehouse, piece.chunk, piece.kept)
        if found not in {piece.measure, Measure(0, 0)}:
            raise CommandError(to_difference(piece, found))
        return found == piece.measure

    async def _patiently(self, work: Callable[[], Awaitable[object]]) -> None:
        async for attempt in attempts():
            with attempt:
                await work()


def attempts() -> AsyncIterator[stamina.Attempt]:
    """Attempts for some minutes at what may be done again; a fence that somebody else broke ends them."""

    def passes(error: Exception) -> bool:
        return isinstance(error, WarehouseError) and not isinstance(error, WarehouseFencedError)

    return stamina.retry_context(on=passes, attempts=None, timeout=PATIENCE_SECONDS, wait_max=5.0).__aiter__()


def to_difference(piece: Piece, found: Measure) -> str:
    """What is wrong with a chunk, in one line."""
    chunk = piece.chunk
    where = f"{chunk.table} of log {chunk.log}, partition {chunk.partition}, positions {chunk.begin} to {chunk.end - 1}"
    month = f", month {chunk.month}" if chunk.month else ""
    return f"{where}{month}: {piece.measure.rows} rows were sent, {found.rows} are there, or they are not the same"
