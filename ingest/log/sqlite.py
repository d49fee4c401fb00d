"""The embedded event log: one SQLite file, durable when `append` returns."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ingest.log import DEAD, Bounds
from ingest.log.sqlite_append import Block
from ingest.log.sqlite_file import open_file, transaction
from ingest.log.sqlite_reader import Reader
from ingest.log.sqlite_writer import Writer

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from ingest.log import Record
    from ingest.log.sqlite_file import FileFacts
    from ingest.log.sqlite_room import Keeping
    from schemas.event import BlockHeaders

POLL_SECONDS = 0.1  # how late an append by another process may be seen
BODY_BYTES = 16 * 1024**2

COMMIT = "UPDATE partitions SET committed = ? WHERE partition = ?"
TRIM = "UPDATE partitions SET trimmed = max(trimmed, ?) WHERE partition = ?"


class SqliteShare:
    """Every partition of an embedded log; nobody else ever waits for one."""

    def __init__(self, log: SqliteLog) -> None:
        self._log = log
        self.partitions = tuple(range(log.partitions))
        self.ended = asyncio.Event()
        self.released = asyncio.Event()

    async def commit(self, positions: Mapping[int, int]) -> None:
        """Remember how far the partitions have been consumed; durable when it returns."""
        await self._log.commit(positions)

    def release(self) -> None:
        """Nothing is under way any more."""
        self.released.set()


class SqliteGroup:
    """A group of one."""

    def __init__(self, log: SqliteLog) -> None:
        self._log = log
        self._share: SqliteShare | None = None

    async def next_share(self) -> SqliteShare:
        """Everything, again after each release."""
        if self._share is not None:
            await self._share.released.wait()
        self._share = SqliteShare(self._log)
        return self._share

    async def leave(self) -> None:
        """There is nobody to tell."""


class SqliteLog:
    """`EventLog` on one file. Several processes may append to it; one consumes."""

    def __init__(self, path: Path, facts: FileFacts, keeping: Keeping, clock: Callable[[], int]) -> None:
        """Use `open_sqlite_log`."""
        self._facts = facts
        self._reader = Reader(path)
        self._writer = Writer(path, keeping, clock)
        self._ends: dict[int, int] = {}
        self._sleepers: set[asyncio.Future[None]] = set()

    @property
    def identity(self) -> str:
        """The UUID that the file was given when it was made."""
        return self._facts.identity

    @property
    def partitions(self) -> int:
        """How many ordinary partitions the file has."""
        return self._facts.partitions

    async def append(self, partition: int, headers: BlockHeaders, body: bytes) -> int:
        """Return the block's position once it would survive a power cut."""
        self._refuse_unknown(partition)
        if len(body) > BODY_BYTES:
            message = f"a block holds at most {BODY_BYTES} bytes, not {len(body)}"
            raise ValueError(message)
        position = await self._writer.append(Block(partition, headers.to_bytes(), body))
        if position >= self._ends.get(partition, 0):
            self._ends[partition] = position + 1
        self._wake_sleepers()
        return position

    async def read(self, partition: int, position: int, max_bytes: int) -> Sequence[Record]:
        """Give the records from `position` on, up to `max_bytes` of bodies but at least one if there is one."""
        self._refuse_unknown(partition)
        return await self._reader.records(partition, position, max_bytes)

    async def read_headers(self, partition: int, position: int) -> Sequence[tuple[int, BlockHeaders]]:
        """Give (position, headers) of every record from `position` on, without the bodies."""
        self._refuse_unknown(partition)
        return await self._reader.headers(partition, position)

    async def wait(self, positions: Mapping[int, int], seconds: float) -> bool:
        """Return True as soon as a partition holds a record at or after its position, False after `seconds`."""
        for partition in positions:
            self._refuse_unknown(partition)
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while not self._holds(positions):
            await self._look()
            if self._holds(positions):
                break
            left = until - loop.time()
            if left <= 0:
                return False
            await self._sleep(min(left, POLL_SECONDS))
        return True

    async def bounds(self, partition: int) -> Bounds:
        """Where the partition begins and ends now."""
        self._refuse_unknown(partition)
        state = (await self._reader.states())[partition]
        return Bounds(state.start, state.end)

    async def join(self, member: str) -> SqliteGroup:
        """Give everything to this one consumer: an embedded log has no other."""
        del member
        return SqliteGroup(self)

    async def commit(self, positions: Mapping[int, int]) -> None:
        """Remember how far each partition has been consumed; durable when it returns."""
        for partition in positions:
            self._refuse_unknown(partition)
        values = [(position, partition) for partition, position in positions.items()]
        await self._writer.run(lambda connection: _write_all(connection, COMMIT, values))

    async def committed(self) -> Mapping[int, int]:
        """What `commit` last remembered, for every partition (`DEAD` too); 0 where it never did."""
        return {partition: state.committed for partition, state in (await self._reader.states()).items()}

    async def trim(self, partition: int, position: int) -> None:
        """Let go of the records before `position`: they go when their retention ends or room is needed."""
        self._refuse_unknown(partition)
        await self._writer.run(lambda connection: _write_all(connection, TRIM, [(position, partition)]))

    async def drop_older(self, now: int) -> None:
        """Delete at once what housekeeping would delete at `now` (epoch ms): trimmed and dead records past their time.

        Afterwards neither the file nor its write-ahead log holds a byte of them.
        """
        while await self._writer.run(lambda connection: self._writer.house.sweep(connection, now)):
            pass  # in steps, so that appends get their turn

    async def used_bytes(self) -> int:
        """How much of the budget is used."""
        return await self._writer.run(self._writer.house.room.measure)

    async def ping(self) -> None:
        """Return if the log could take a block now, else raise LogUnavailableError with the reason."""
        await self._writer.run(self._writer.probe)

    async def close(self) -> None:
        """Finish what is under way and let go of every resource; may be called twice."""
        await self._writer.close()
        await self._reader.close()
        self._wake_sleepers()

    def _refuse_unknown(self, partition: int) -> None:
        if partition != DEAD and not 0 <= partition < self._facts.partitions:
            message = f"the log has partitions 0 to {self._facts.partitions - 1} and {DEAD}, not {partition}"
            raise ValueError(message)

    def _holds(self, positions: Mapping[int, int]) -> bool:
        return any(self._ends.get(partition, 0) > position for partition, position in positions.items())

    async def _look(self) -> None:
        """See what others, too, have appended."""
        for partition, state in (await self._reader.states()).items():
            self._ends[partition] = max(self._ends.get(partition, 0), state.end)

    async def _sleep(self, seconds: float) -> None:
        sleeper = asyncio.get_running_loop().create_future()
        self._sleepers.add(sleeper)
        try:
            await asyncio.wait([sleeper], timeout=seconds)
        finally:
            self._sleepers.discard(sleeper)

    def _wake_sleepers(self) -> None:
        for sleeper in self._sleepers:
            if not sleeper.done():
                sleeper.set_result(None)


async def open_sqlite_log(path: Path, partitions: int | None, keeping: Keeping, clock: Callable[[], int]) -> SqliteLog:
    """Open the file, or make it with so many partitions; `clock` gives epoch milliseconds.

    Raise ValueError when the file has another number of partitions, LogDamagedError when it is not a sound log.
    """
    facts = await asyncio.to_thread(open_file, path, partitions)
    return SqliteLog(path, facts, keeping, clock)


def _write_all(connection: sqlite3.Connection, statement: str, values: Sequence[tuple[int, int]]) -> None:
    """One transaction for all; a single statement is one by itself."""
    if len(values) == 1:
        connection.execute(statement, values[0])
        return
    with transaction(connection):
        connection.executemany(statement, values)
