"""The one batcher between log and warehouse: it ends a batch on size, on age and on stop, and nowhere else.

An event on a quiet server goes at once; under load the engine gets few large inserts instead of many small ones.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import stamina

from ingest.log import LogUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from ingest.log import EventLog, Record
    from ingest.progress import Positions

READ_BYTES = 2 * 1024**2
LOOK_SECONDS = 0.05
IDLE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Gathered:
    """Whole blocks by partition and position: those of `[begins[p], ends[p])` of every log partition `p` of the share.

    `is_known`: these ends were written down in the warehouse by a batch that was cut short.
    """

    begins: Positions
    ends: Positions
    records: Sequence[Record]
    is_known: bool = False


@dataclass(frozen=True, slots=True)
class Sizes:
    """When a batch ends: lines, bytes of bodies, a pause after so many batches in a row, pauses in milliseconds.

    `burst` batches go one after the other without waiting; each pause of `refill` allows one more. So a batch is at
    most `refill` old before it goes, and at most 1000 / `refill` go in a second under lasting load. A batch of more
    than `months` months is gathered for up to `wide_age`, up to `wide_lines`: each month is an insert of its own.
    `bytes` bound the memory, of which parsing takes about twelve times as much: a batch, wide or not, is at most one
    block above.
    """

    lines: int = 50_000
    bytes: int = 32 * 1024**2
    burst: int = 40
    refill: int = 250
    months: int = 4
    wide_age: int = 5_000
    wide_lines: int = 200_000


class Pace:
    """Allows bursts of batches, then one each `refill` milliseconds. `monotonic` gives seconds and never goes back."""

    def __init__(self, sizes: Sizes, monotonic: Callable[[], float]) -> None:
        self._refill = sizes.refill / 1000
        self._burst = (sizes.burst - 1) * self._refill
        self._monotonic = monotonic
        self._next = 0.0

    def seconds_left(self) -> float:
        """How long until the next batch may go."""
        return max(0.0, self._next - self._burst - self._monotonic())

    def spend(self) -> None:
        """A batch goes now."""
        self._next = max(self._next, self._monotonic()) + self._refill


class Gatherer:
    """Reads batches of one log, all partitions of a share together."""

    def __init__(self, log: EventLog, sizes: Sizes, stop: asyncio.Event) -> None:
        self._log = log
        self._sizes = sizes
        self._stop = stop
        self._pace = Pace(sizes, time.monotonic)
        self.ready = asyncio.Event()  # the batch before has landed: nothing is gained by waiting longer
        self.ready.set()

    async def gather(self, begins: Positions) -> Gathered | None:
        """Wait for the next batch and give it; None when stopped before there was anything."""
        ends = dict(begins)
        records: list[Record] = []
        while True:
            full = await self._read_more(ends, records, self._sizes.lines, self._sizes.bytes)
            due = bool(records) and self.ready.is_set() and not self._pace.seconds_left()
            if full or due or self._stop.is_set():
                break
            await self._wait(ends, records)
        if not records:
            return None
        self._pace.spend()
        return Gathered(begins, ends, _in_log_order(records))

    async def gather_exactly(self, begins: Positions, ends: Positions) -> Gathered:
        """Give the blocks between these positions."""
        records: list[Record] = []
        for partition, end in ends.items():
            position = begins[partition]
            while position < end:
                found = await self._read(partition, position, READ_BYTES)
                records += [record for record in found if record.position < end]
                position = found[-1].position + 1
        return Gathered(begins, ends, _in_log_order(records), is_known=True)

    async def gather_wider(self, gathered: Gathered, milliseconds: int) -> Gathered:
        """Give what comes after `gathered` for a time, or until it is wide enough or stopped."""
        loop = asyncio.get_running_loop()
        until = loop.time() + milliseconds / 1000
        ends = dict(gathered.ends)
        records: list[Record] = []
        lines = self._sizes.wide_lines - _count_lines(gathered.records)
        size = self._sizes.bytes - _count_bytes(gathered.records)
        while not await self._read_more(ends, records, lines, size):
            if loop.time() >= until or self._stop.is_set():
                break
            await first_of(LOOK_SECONDS, self._stop.wait())
        return Gathered(gathered.ends, ends, _in_log_order(records))

    async def _read_more(self, ends: dict[int, int], records: list[Record], lines: int, size: int) -> bool:
        """Read until `records` hold so many lines or bytes (say True) or the log is read to its end.

        The partitions take turns and share the bytes that are left, so that none falls behind.
        """
        lines -= _count_lines(records)
        size -= _count_bytes(records)
        open_partitions = list(ends)
        while open_partitions and lines > 0 and size > 0:
            share = min(READ_BYTES, size // len(open_partitions))
            for partition in tuple(open_partitions):
                found = await self._read(partition, ends[partition], share) if size > 0 else ()
                if not found:
                    open_partitions.remove(partition)
                    continue
                records += found
                lines -= _count_lines(found)
                size -= _count_bytes(found)
                ends[partition] = found[-1].position + 1
        return lines <= 0 or size <= 0

    async def _read(self, partition: int, position: int, size: int) -> Sequence[Record]:
        async for attempt in stamina.retry_context(on=LogUnavailableError, attempts=None, timeout=None):
            with attempt:
                return await self._log.read(partition, position, size)
        raise AssertionError

    async def _wait(self, ends: Positions, records: Sequence[Record]) -> None:
        if not records:
            with suppress(LogUnavailableError):  # reading says so again and waits
                await first_of(IDLE_SECONDS, self._stop.wait(), self._log.wait(ends, IDLE_SECONDS))
        elif not self.ready.is_set():
            await first_of(LOOK_SECONDS, self._stop.wait(), self.ready.wait())
        else:
            seconds = min(LOOK_SECONDS, self._pace.seconds_left())
            await first_of(seconds, self._stop.wait())


async def first_of(seconds: float | None, *waits: Coroutine[None, None, object]) -> None:
    """Return when one of them returns or the time is up (None is never); the others are cancelled.

    Raise what that one raises.
    """
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def _count_lines(records: Sequence[Record]) -> int:
    return sum(max(1, record.headers.lines) for record in records)


def _count_bytes(records: Sequence[Record]) -> int:
    return sum(len(record.body) for record in records)


def _in_log_order(records: Sequence[Record]) -> Sequence[Record]:
    return sorted(records, key=lambda record: (record.partition, record.position))
