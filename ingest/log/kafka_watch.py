"""Waits for records: one long poll to each broker for all who wait.

A poll asks from the end that is known, so that a broker answers when it holds something new and not before. A partition
that nobody waited for when a poll began is part of the next one, at most `POLL_MS` later.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ingest.log import LogUnavailableError
from ingest.log.kafka_errors import OFFSET_OUT_OF_RANGE, TROUBLES, BrokerRefusedError, NotReachedError
from ingest.log.kafka_retry import PAUSE, look_again

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.log.kafka_fetch import Fetcher
    from ingest.log.kafka_wire import Wire

POLL_MS = 500
NOWHERE = -1


class Watch:
    """Knows how far each partition reaches, as far as was heard."""

    def __init__(self, wire: Wire, fetcher: Fetcher) -> None:
        self._wire = wire
        self._fetcher = fetcher
        self._ends: dict[int, int] = {}
        self._hollow: dict[int, tuple[int, int]] = {}
        self._waiting: dict[asyncio.Future[None], Mapping[int, int]] = {}
        self._polls: dict[int, asyncio.Task[None]] = {}
        self._is_closed = False

    def see(self, partition: int, end: int) -> None:
        """Take note that the partition reaches up to there."""
        if end > self._ends.get(partition, -1):
            self._ends[partition] = end
            self._wake()

    def see_nothing(self, partition: int, begin: int, end: int) -> None:
        """Take note that there is nothing to read between these positions (a topic that was compacted before)."""
        self._hollow[partition] = (begin, end)

    async def wait(self, positions: Mapping[int, int], seconds: float) -> bool:
        """As `EventLog.wait`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while not self._holds(positions):
            if self._is_closed:
                message = "the log is closed"
                raise LogUnavailableError(message)
            left = until - loop.time()
            if left <= 0:
                return False
            sleeper = loop.create_future()
            self._waiting[sleeper] = positions
            try:
                self._poll_for_all()
                await asyncio.wait([sleeper], timeout=left)
            finally:
                del self._waiting[sleeper]
        return True

    async def close(self) -> None:
        """Let everybody who waits know."""
        self._is_closed = True
        tasks = list(self._polls.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._wake()

    def _holds(self, positions: Mapping[int, int]) -> bool:
        return any(self._has(partition, position) for partition, position in positions.items())

    def _has(self, partition: int, position: int) -> bool:
        begin, end = self._hollow.get(partition, (0, 0))
        return self._ends.get(partition, -1) > (end if begin <= position < end else position)

    def _wake(self) -> None:
        for sleeper, positions in self._waiting.items():
            if not sleeper.done() and (self._is_closed or self._holds(positions)):
                sleeper.set_result(None)

    def _poll_for_all(self) -> None:
        """Poll every broker that leads a partition that somebody waits for, unless that is being done."""
        if self._is_closed:
            return
        nodes: dict[int, set[int]] = {}
        for partition in {partition for positions in self._waiting.values() for partition in positions}:
            nodes.setdefault(self._leader(partition), set()).add(partition)
        for node, partitions in nodes.items():
            if node not in self._polls:
                self._polls[node] = asyncio.create_task(self._poll(node, partitions), name=f"wait for broker {node}")

    def _leader(self, partition: int) -> int:
        try:
            return self._fetcher.leader(partition)
        except NotReachedError:
            return NOWHERE

    async def _poll(self, node: int, partitions: set[int]) -> None:
        """One poll, or a pause where it cannot be asked; then the next one if somebody still waits."""
        try:
            for partition in partitions - self._ends.keys():
                self._ends[partition] = await self._fetcher.end(partition)
            if not any(self._holds(positions) for positions in self._waiting.values()):
                await self._ask(node, partitions)
        except (LogUnavailableError, *TROUBLES) as error:
            if isinstance(error, BrokerRefusedError) and error.code == OFFSET_OUT_OF_RANGE:
                for partition in partitions:  # one of them ends earlier than it did: all are asked for anew
                    self._ends.pop(partition, None)
            await asyncio.sleep(PAUSE)
            await look_again(self._wire, error)
        finally:
            del self._polls[node]
        self._wake()
        if any(not sleeper.done() for sleeper in self._waiting):
            self._poll_for_all()

    async def _ask(self, node: int, partitions: set[int]) -> None:
        if node == NOWHERE:
            message = "a partition has no leader"
            raise NotReachedError(message)
        ends = await self._fetcher.poll(node, {number: self._ends[number] for number in partitions}, POLL_MS)
        for partition, end in ends.items():
            self._ends[partition] = max(end, self._ends.get(partition, -1))
