"""Headers of the blocks of a partition from a position on, kept from one question to the next.

A broker gives whole batches, so headers cost as much to read as blocks do. Whoever asks again from nearly the same
position, as a query server does for what is not consumed yet, pays for what is new alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from ingest.log import LogDamagedError, LogUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.log.kafka_fetch import Fetcher
    from schemas.event import BlockHeaders

SECONDS = 5.0  # of one question
READ_BYTES = 1024**2  # as they are stored
MAX_KEPT = 200_000  # headers and receipt counts of all partitions together: about 70 MB


class HeaderCache:
    """Headers of one partition, without gaps from the position that was asked for last."""

    def __init__(self, fetcher: Fetcher, partition: int, most: int) -> None:
        """Keep at most so many headers and receipt counts, and what one fetch gives."""
        self._most = most
        self._fetcher = fetcher
        self._partition = partition
        self._kept: deque[tuple[int, BlockHeaders]] = deque()
        self._weight = 0
        self._begin = self._behind = -1
        self._lock = asyncio.Lock()

    async def read(self, position: int) -> Sequence[tuple[int, BlockHeaders]]:
        """As `EventLog.read_headers`.

        What is too much for one question raises LogUnavailableError; the next one goes on where it ended.
        """
        async with self._lock:
            if not self._begin <= position <= self._behind:
                self._forget(position)
            self._begin = position
            while self._kept and self._kept[0][0] < position:
                self._weight -= weigh(self._kept.popleft()[1])
            await self._go_on()
            return list(self._kept)

    async def _go_on(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + SECONDS
        while True:
            self._refuse_too_many()
            try:
                fetched = await self._fetcher.fetch(self._partition, self._behind, READ_BYTES)
            except LogDamagedError:
                self._forget(-1)
                raise
            self._kept += ((record.position, record.headers) for record in fetched.records)
            self._weight += sum(weigh(record.headers) for record in fetched.records)
            self._behind = fetched.behind
            if fetched.behind >= fetched.end:
                return
            if loop.time() > until:
                message = (
                    f"the headers of log partition {self._partition} are read up to {self._behind} of {fetched.end}"
                )
                raise LogUnavailableError(message)

    def _forget(self, position: int) -> None:
        self._kept.clear()
        self._weight = 0
        self._begin = self._behind = position

    def _refuse_too_many(self) -> None:
        if self._weight > self._most:
            message = f"more than {self._most} headers of log partition {self._partition} are asked for"
            raise LogUnavailableError(message)


def weigh(headers: BlockHeaders) -> int:
    """How much memory it takes, roughly, in headers of an ordinary block."""
    return 1 + len(headers.counts)
