# mypy: disable-error-code="import-untyped"
"""Batches on their way to a broker: those of several partitions that are ready together go in one request.

A request costs the broker as much as what is in it, so four partitions that are led by one broker would cost it four
times as much, sent one by one. A request is answered when each of its partitions is on its replicas; what is ready
meanwhile does not wait for that but takes another connection.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiokafka.protocol.produce import ProduceRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.log.kafka_wire import Wire

ALL = -1  # acks
CONNECTIONS = 8  # to each broker, which answers in order: as many requests may be under way
REQUEST_BYTES = 4 * 1024 * 1024  # a request holds one batch, or so many small ones


@dataclass(slots=True, eq=False)
class Ready:
    """A batch of a partition; `answer` is the broker's error code and the position of the first record."""

    topic: str
    partition: int
    data: bytes
    deadline: float
    answer: asyncio.Future[tuple[int, int]]


class Sender:
    """Sends to one broker."""

    def __init__(self, wire: Wire, node: int) -> None:
        self._wire = wire
        self._node = node
        self._ready: list[Ready] = []
        self._free = list(range(CONNECTIONS))
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_called = False

    async def send(self, topic: str, partition: int, data: bytes, seconds: float) -> tuple[int, int]:
        """Give the broker's error code for the batch, or 0 and its position.

        Raise what `Wire.ask` raises; TimeoutError after `seconds`.
        """
        loop = asyncio.get_running_loop()
        ready = Ready(topic, partition, data, loop.time() + seconds, loop.create_future())
        self._ready.append(ready)
        self._call()
        async with asyncio.timeout_at(ready.deadline):
            return await ready.answer

    def close(self) -> None:
        """Wait for no answer any more."""
        for task in self._tasks:
            task.cancel()

    def _call(self) -> None:
        """Go when everybody who is ready in this round of the loop has said so."""
        if not self._is_called and self._free:
            self._is_called = True
            asyncio.get_running_loop().call_soon(self._go)

    def _go(self) -> None:
        self._is_called = False
        batches = self._take()
        if not batches:
            return
        task = asyncio.create_task(self._ask(batches, self._free.pop()), name=f"send to broker {self._node}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._ready:
            self._call()

    def _take(self) -> list[Ready]:
        """The next batches that somebody still waits for; no two of one partition, whose order would be lost."""
        batches: dict[tuple[str, int], Ready] = {}
        left: list[Ready] = []
        size = 0
        for ready in self._ready:
            place = (ready.topic, ready.partition)
            if ready.answer.done():
                continue
            if place in batches or (batches and size + len(ready.data) > REQUEST_BYTES):
                left.append(ready)
            else:
                batches[place] = ready
                size += len(ready.data)
        self._ready = left
        return list(batches.values())

    async def _ask(self, batches: Sequence[Ready], connection: int) -> None:
        """Ask and tell everybody; what goes wrong goes wrong for all of them."""
        seconds = max(batch.deadline for batch in batches) - asyncio.get_running_loop().time()
        try:
            answers = await self._ask_once(batches, connection, seconds)
            for batch in batches:
                if not batch.answer.done():
                    batch.answer.set_result(answers[batch.topic, batch.partition])
        except Exception as error:  # noqa: BLE001 - whoever waits raises it
            for batch in batches:
                if not batch.answer.done():
                    batch.answer.set_exception(error)
        finally:
            for batch in batches:
                batch.answer.cancel()  # where this task is cancelled
            self._free.append(connection)
            if self._ready:
                self._call()

    async def _ask_once(
        self, batches: Sequence[Ready], connection: int, seconds: float
    ) -> dict[tuple[str, int], tuple[int, int]]:
        """The error code and the position of each."""
        topics: dict[str, list[tuple[int, bytes]]] = {}
        for batch in batches:
            topics.setdefault(batch.topic, []).append((batch.partition, batch.data))
        request = ProduceRequest(None, ALL, int(seconds * 1000), list(topics.items()))
        answer = await self._wire.ask(self._node, request, f"append {connection}", seconds)
        return {
            (topic, partition): (error, position)
            for topic, partitions in answer.topics
            for partition, error, position, *_ in partitions
        }
