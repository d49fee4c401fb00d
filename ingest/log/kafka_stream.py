"""Reads one partition fast: while records are handed out, those that follow are on their way."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from ingest.log.kafka_fetch import Fetched

if TYPE_CHECKING:
    from ingest.log import Record
    from ingest.log.kafka_fetch import Fetcher

AHEAD_BYTES = 4 * 1024**2  # of all partitions together, as they are stored: 15 MB of lines, and as much in hand
LEAST_AHEAD = 64 * 1024
SMALL = 64 * 1024  # who asks for less reads here and there, not on and on


class Stream:
    """Knows what follows the last read of a partition. Several may read at once; those elsewhere do not disturb."""

    def __init__(self, fetcher: Fetcher, partition: int, partitions: int) -> None:
        """`partitions` share the memory for what is read ahead."""
        self._size = max(LEAST_AHEAD, min(1024**2, AHEAD_BYTES // partitions))
        self._fetcher = fetcher
        self._partition = partition
        self._records: deque[Record] = deque()
        self._next = -1  # the position that a reader asks for who goes on
        self._behind = -1  # the position behind the records
        self._end = -1  # of the partition, when they were fetched
        self._ahead: asyncio.Task[Fetched] | None = None  # what follows it
        self._lock = asyncio.Lock()

    async def read(self, position: int, max_bytes: int) -> Fetched:
        """Give records as `EventLog.read` does, and where the partition ended when the last of them was fetched."""
        async with self._lock:
            if not self._is_next(position):
                if max_bytes < SMALL:
                    fetched = await self._fetch_some(position)
                    return Fetched(take(deque(fetched.records), max_bytes), fetched.behind, fetched.end)
                self._go_to(position)
            while not self._records:
                fetched = await self._fetch_next()
                if not fetched.records and fetched.behind >= fetched.end:
                    break
            taken = take(self._records, max_bytes)
            self._next = taken[-1].position + 1 if taken else position
            return Fetched(taken, self._next, self._end)

    def close(self) -> None:
        """Let go of what was read ahead."""
        self._go_to(-1)

    def _is_next(self, position: int) -> bool:
        first = self._records[0].position if self._records else self._behind
        return self._next <= position <= first  # there may be positions that hold nothing

    def _go_to(self, position: int) -> None:
        self._records.clear()
        self._next = self._behind = position
        if self._ahead is not None:
            self._ahead.cancel()
            self._ahead = None

    async def _fetch_next(self) -> Fetched:
        """Take what follows, and start to fetch what follows that, if there is any."""
        ahead, self._ahead = self._ahead or self._start(), None
        try:
            fetched = await ahead
        finally:
            ahead.cancel()  # where the reader was: nobody would take it
        self._records.extend(fetched.records)
        self._behind, self._end = fetched.behind, fetched.end
        if fetched.behind < fetched.end:
            self._ahead = self._start()
        return fetched

    def _start(self) -> asyncio.Task[Fetched]:
        fetching = asyncio.create_task(self._fetcher.fetch(self._partition, self._behind, self._size))
        fetching.add_done_callback(forget_error)
        return fetching

    async def _fetch_some(self, position: int) -> Fetched:
        """Give records from the position on, unless there are none."""
        while True:
            fetched = await self._fetcher.fetch(self._partition, position, SMALL)
            if fetched.records or fetched.behind >= fetched.end:
                return fetched
            position = fetched.behind


def take(records: deque[Record], max_bytes: int) -> list[Record]:
    """Take records off, up to so many bytes of bodies but one at least if there is one."""
    taken: list[Record] = []
    left = max_bytes
    while records and (not taken or left >= len(records[0].body)):
        taken.append(records.popleft())
        left -= len(taken[-1].body)
    return taken


def forget_error(task: asyncio.Task[Fetched]) -> None:
    """An error of what nobody asks for any more is not worth a line."""
    if not task.cancelled():
        task.exception()
