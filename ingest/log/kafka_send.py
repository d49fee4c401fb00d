# mypy: disable-error-code="import-untyped"
"""Batches on their way to a broker: those of several partitions that are ready together go in one request.

A request costs the broker as much as what is in it, so four partitions that are led by one broker would cost it four
times as much, sent one by one. A broker answers when each of them is on its replicas, but after `TOGETHER_MS` it says
which are not yet: these are sent again, each alone, and hold up nobody else. What is ready meanwhile takes another
connection.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from aiokafka.protocol.produce import ProduceRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.log.kafka_wire import Wire

Place: TypeAlias = "tuple[str, int]"  # topic and partition

ALL = -1  # acks
CONNECTIONS = 8  # to each broker, which answers in order: as many requests may be under way
TOGETHER_MS = 500  # for how long a partition may hold up those in one request with it
REQUEST_BYTES = 4 * 1024 * 1024  # a request holds one batch, or so many small ones


@dataclass(slots=True, eq=False)
class Ready:
    """A batch of a partition; `answer` is the broker's error code and the position of the first record."""

    topic: str
    partition: int
    data: bytes
    is_alone: bool
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

    async def send(self, place: Place, data: bytes, seconds: float, *, is_alone: bool) -> tuple[int, int]:
        """Give the broker's error code for the batch of this topic and partition, or 0 and its position.

        Raise what `Wire.ask` raises; TimeoutError after `seconds`.
        """
        loop = asyncio.get_running_loop()
        ready = Ready(*place, data, is_alone, loop.time() + seconds, loop.create_future())
        self._ready.append(ready)
        self._call()
        try:
            async with asyncio.timeout_at(ready.deadline):
                return await ready.answer
        except TimeoutError as error:
            message = f"no answer from broker {self._node} within {seconds:.1f} s"
            raise TimeoutError(message) from error

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
        batches: dict[Place, Ready] = {}
        left: list[Ready] = []
        size = 0
        is_alone = False
        for ready in self._ready:
            place = (ready.topic, ready.partition)
            if ready.answer.done():
                continue
            is_more = place in batches or size + len(ready.data) > REQUEST_BYTES
            if batches and (is_more or is_alone or ready.is_alone):
                left.append(ready)
            else:
                batches[place] = ready
                size += len(ready.data)
                is_alone = ready.is_alone
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
    ) -> dict[Place, tuple[int, int]]:
        """The error code and the position of each."""
        topics: dict[str, list[tuple[int, bytes]]] = {}
        for batch in batches:
            topics.setdefault(batch.topic, []).append((batch.partition, batch.data))
        milliseconds = int(seconds * 1000)  # of which half is left for those that are to be sent again
        limit = milliseconds if len(batches) == 1 else min(milliseconds // 2, TOGETHER_MS)
        request = ProduceRequest(None, ALL, limit, list(topics.items()))
        answer = await self._wire.ask(self._node, request, f"append {connection}", seconds)
        return {
            (topic, partition): (error, position)
            for topic, partitions in answer.topics
            for partition, error, position, *_ in partitions
        }
