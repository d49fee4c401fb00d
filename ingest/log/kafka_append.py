# mypy: disable-error-code="import-untyped"
"""Appends: idempotent, `acks=all`, one batch under way a partition, bounded in bytes and in time.

Each partition has a producer number of its own. A batch is sent with one sequence number until a broker has taken it
or the last of its appends has given up; then the number is thrown away, since nobody can tell whether the batch has
landed, and the next batch starts under a new one. So nothing waits for a broker longer than its deadline, and a
sequence that a broker does not accept ends with the batch that met it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from aiokafka.protocol.transaction import InitProducerIdRequest

from ingest.log import LogUnavailableError
from ingest.log.kafka_errors import (
    DUPLICATE_SEQUENCE,
    TROUBLES,
    NotReachedError,
    as_log_error,
    check,
    may_pass,
    to_reason,
)
from ingest.log.kafka_record import Producer, to_batch, to_entries
from ingest.log.kafka_retry import PAUSE, look_again
from ingest.log.kafka_send import Sender
from ingest.log.kafka_topic import RECORD_BYTES

if TYPE_CHECKING:
    from ingest.log.kafka_record import Entries
    from ingest.log.kafka_url import KafkaPlace
    from ingest.log.kafka_wire import Wire
    from schemas.event import BlockHeaders

BATCH_BYTES = 512 * 1024  # a batch is one block, or so many small ones
logger = structlog.get_logger()


@dataclass(slots=True, eq=False)
class Waiting:
    """A block on its way; `position` is set when it is durable, or to the reason why that is not known."""

    entries: Entries
    body: bytes
    size: int
    deadline: float
    position: asyncio.Future[int]


class Appender:
    """Appends to the partitions of one log. `waiting` is how many bytes are on their way."""

    def __init__(self, wire: Wire, place: KafkaPlace) -> None:
        self.waiting = 0
        self._wire = wire
        self._place = place
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._senders: dict[int, Sender] = {}
        self._open: set[asyncio.Future[int]] = set()

    async def append(self, topic: str, partition: int, headers: BlockHeaders, body: bytes) -> int:
        """Give the position of the block once every replica that counts has it; raise LogUnavailableError."""
        entries = to_entries(headers)
        size = len(body) + sum(len(value) for _, value in entries)
        if size > RECORD_BYTES:
            message = f"a block and its headers hold at most {RECORD_BYTES} bytes, not {size}"
            raise ValueError(message)
        if self.waiting + size > self._place.buffer_bytes:
            message = f"{self.waiting} bytes wait for Kafka already"
            raise LogUnavailableError(message)
        loop = asyncio.get_running_loop()
        waiting = Waiting(entries, body, size, loop.time() + self._place.deadline, loop.create_future())
        self.waiting += size
        self._open.add(waiting.position)
        lane = self._lanes.setdefault(
            (topic, partition), _Lane(self._wire, self._place, self._senders, (topic, partition))
        )
        lane.put(waiting)
        try:
            async with asyncio.timeout_at(waiting.deadline):
                return await waiting.position
        except TimeoutError as error:
            message = f"Kafka has not taken a block within {self._place.deadline:g} s: {lane.trouble or 'no answer'}"
            raise LogUnavailableError(message) from error
        finally:
            self.waiting -= size
            self._open.discard(waiting.position)

    async def close(self) -> None:
        """Wait for what is on its way, at most for the deadline."""
        if self._open:
            await asyncio.wait(self._open, timeout=self._place.deadline)
        tasks = [lane.task for lane in self._lanes.values() if lane.task is not None]
        for task in tasks:
            task.cancel()
        for sender in self._senders.values():
            sender.close()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Lane:
    """The way to one partition."""

    def __init__(self, wire: Wire, place: KafkaPlace, senders: dict[int, Sender], where: tuple[str, int]) -> None:
        self.task: asyncio.Task[None] | None = None
        self.trouble = ""
        self._wire = wire
        self._place = place
        self._senders = senders
        self._topic, self._partition = where
        self._queue: deque[Waiting] = deque()
        self._producer: Producer | None = None
        self._sequence = 0

    def put(self, waiting: Waiting) -> None:
        """Take a block; what is under way goes first."""
        self._queue.append(waiting)
        if self.task is None:
            self.task = asyncio.create_task(self._drain(), name=f"append {self._topic}/{self._partition}")

    async def _drain(self) -> None:
        try:
            while batch := self._take():
                await self._send(batch)
        finally:
            self.task = None

    def _take(self) -> list[Waiting]:
        """The next blocks that somebody still waits for, as many as fit into a batch."""
        batch: list[Waiting] = []
        size = 0
        while self._queue and (not batch or size + self._queue[0].size <= BATCH_BYTES):
            waiting = self._queue.popleft()
            if not waiting.position.done():
                batch.append(waiting)
                size += waiting.size
        return batch

    async def _send(self, batch: list[Waiting]) -> None:
        """Send until it is taken or nobody waits any more."""
        try:
            first = await self._send_surely(batch)
        except asyncio.CancelledError:
            self._give_up(batch, "the log is being closed")
            raise
        except Exception as error:
            if not isinstance(error, LogUnavailableError):
                logger.exception("append_failed", topic=self._topic, partition=self._partition)
            self._give_up(batch, str(error) or type(error).__name__)
            return
        self._sequence = (self._sequence + len(batch)) % 2**31
        self.trouble = ""
        for place, waiting in enumerate(batch):
            if not waiting.position.done():
                waiting.position.set_result(first + place)

    def _give_up(self, batch: list[Waiting], reason: str) -> None:
        """Tell those who wait; whatever the reason, the batch may have landed, and its sequence is not used again."""
        self._producer = None
        for waiting in batch:
            if not waiting.position.done():
                waiting.position.set_exception(LogUnavailableError(reason))
                waiting.position.exception()  # its append may be gone

    async def _send_surely(self, batch: list[Waiting]) -> int:
        """Give the position of the first block; raise LogUnavailableError."""
        loop = asyncio.get_running_loop()
        deadline = max(waiting.deadline for waiting in batch)
        data: bytes | None = None
        is_again = False
        with as_log_error("Kafka does not take a block"):
            while True:
                try:
                    data = data or await self._to_batch(batch)
                    return await self._send_once(data, deadline - loop.time(), is_again=is_again)
                except TROUBLES as error:
                    self.trouble = to_reason(error)
                    if loop.time() + PAUSE >= deadline or not may_pass(error):
                        raise
                    is_again = True
                    await asyncio.sleep(PAUSE)
                    await look_again(self._wire, error)

    async def _to_batch(self, batch: list[Waiting]) -> bytes:
        if self._producer is None:
            answer = await self._wire.ask_any(InitProducerIdRequest(None, 0))
            check(answer.error_code)
            self._producer, self._sequence = Producer(answer.producer_id, answer.producer_epoch), 0
        blocks = [(waiting.entries, waiting.body) for waiting in batch]
        return to_batch(blocks, self._place.compression, self._producer, self._sequence, time.time_ns() // 1_000_000)

    async def _send_once(self, data: bytes, seconds: float, *, is_again: bool) -> int:
        leader = self._wire.leader(self._topic, self._partition)
        if leader < 0:
            message = f"partition {self._partition} of {self._topic} has no leader"
            raise NotReachedError(message)
        sender = self._senders.setdefault(leader, Sender(self._wire, leader))
        error, position = await sender.send((self._topic, self._partition), data, seconds, is_alone=is_again)
        if error != DUPLICATE_SEQUENCE or position < 0:  # else it has landed before
            check(error)
        return position
