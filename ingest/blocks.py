"""Gathers lines into blocks of the log: natural group commit, one block under way per log partition.

While blocks are being made durable the next ones grow, one a partition. When they are done the next ones go, together,
as soon as the event loop has come round once without bringing a request: then everybody who has sent is in them, the
thread that writes finds the interpreter free, and a broker takes them in one request. A partition that is slow is left
behind. There is no timer on the way of an event. What the ledger must know of received and refused records stands in
the headers of the blocks.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

import structlog

from ingest.log import LogUnavailableError
from schemas.event import BLOCK_BYTES, BlockHeaders, ReceiptCount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ingest.admit import Admission, Owner, Refusal
    from ingest.log import EventLog
    from schemas.event import SiteId

Settle: TypeAlias = "Callable[[Exception | None], None]"
# What receipt counts are kept by: site, UTC hour in epoch seconds, reason of a refusal or empty.
CountKey: TypeAlias = "tuple[SiteId, int, str]"

HOUR_MS = 3_600_000
MAX_WAITING = 32 * 1024 * 1024  # bytes of lines that are not durable yet
FLUSH_SECONDS = 0.5  # how long a refusal waits for a block to travel in
GATHER_SECONDS = 0.005  # how long a loop that is never idle may hold up a block
TOGETHER_SECONDS = 0.02  # how long a partition waits for another that is slow
MAX_COUNTS = 4096  # receipt counts of refusals in one header

log = structlog.get_logger()


class OverloadedError(Exception):
    """More lines wait for the log than may; come back in a second."""


class Several:
    """Waits for as many blocks and settles once, with the error of any."""

    __slots__ = ("_error", "_left", "_settle")

    def __init__(self, blocks: int, settle: Settle) -> None:
        self._left = blocks
        self._settle = settle
        self._error: Exception | None = None

    def __call__(self, error: Exception | None) -> None:
        """One more is done."""
        self._left -= 1
        self._error = self._error or error
        if not self._left:
            self._settle(self._error)


class Block:
    """Lines on their way to one log partition, and who waits for them.

    A waiter is called with None when the block is durable, else with the error.
    """

    __slots__ = ("counts", "first", "last", "lines", "size", "waiters")

    def __init__(self, received: int) -> None:
        self.lines: list[bytes] = []
        self.size = 0
        self.first = received
        self.last = received
        self.counts: dict[CountKey, int] = {}
        self.waiters: list[Settle] = []


class BlockWriter:
    """Writes lines to the log; `waiting` is how many bytes of them are not durable yet.

    Refusals go with the next block of any partition; when none goes within `FLUSH_SECONDS`, with a block of no lines.
    """

    def __init__(self, log: EventLog, observe: Callable[[int, float], None]) -> None:
        """`observe` is told of each durable block: its lines, and the seconds that it took."""
        self.waiting = 0
        self._log = log
        self._requests = 0  # taken so far
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        self._queues: list[deque[Block]] = [deque() for _ in range(log.partitions)]
        self._drain: asyncio.Task[None] | None = None
        self._writes: dict[int, asyncio.Task[None]] = {}
        self._refused: Counter[CountKey] = Counter()
        self._last_refusal = 0
        self._flush: asyncio.TimerHandle | None = None
        self._stopped = False

    def add(self, admission: Admission, received: int, settle: Settle) -> None:
        """Take the lines and count the refusals of a request that was received at `received` (epoch milliseconds).

        `settle` is called once, later, with None when every line is durable, else with the error; at once where there
        is no line. Refusals beside lines travel in their block and share its fate. Raise OverloadedError and take
        nothing.
        """
        if self.waiting > MAX_WAITING or self._stopped:
            raise OverloadedError
        hour = received // HOUR_MS * 3600
        self._requests += 1
        written = self._put(admission.lines, received, hour) if admission.lines else []
        if admission.refusals:
            self._count_refusals(admission.refusals, hour, written[0].counts if written else self._refused)
            self._last_refusal = received
            self._schedule_flush()
        if len(written) > 1:
            settle = Several(len(written), settle)
        for block in written:
            block.waiters.append(settle)
        if not written:
            settle(None)

    def _put(self, lines: Mapping[Owner, Sequence[bytes]], received: int, hour: int) -> list[Block]:
        """Give the blocks that the lines are in now."""
        partitions = len(self._queues)
        written: list[Block] = []
        for (site_id, visitor), all_of_one in lines.items():
            key = (site_id, hour, "")
            for part in to_parts(all_of_one):
                size = sum(map(len, part))
                block = self._find_room(visitor % partitions, size, received)
                block.lines += part
                block.size += size
                self.waiting += size
                block.counts[key] = block.counts.get(key, 0) + len(part)
                if block not in written:
                    written.append(block)
        for block in written:
            block.first = min(block.first, received)
            block.last = max(block.last, received)
        return written

    def _count_refusals(self, refusals: Iterable[Refusal], hour: int, counts: dict[CountKey, int]) -> None:
        for refusal in refusals:
            if refusal.site_id is not None:
                # A refused record was received too.
                for reason in ("", refusal.reason):
                    key = (refusal.site_id, hour, reason)
                    counts[key] = counts.get(key, 0) + 1

    async def stop(self) -> None:
        """Take nothing more; return when all that waits is durable or has failed."""
        self._stopped = True
        await self._finish_writes()
        self.flush_refusals()
        await self._finish_writes()
        if self._refused:
            log.error("refusals_not_recorded", counts=len(self._refused))

    async def _finish_writes(self) -> None:
        while tasks := [*self._writes.values(), *filter(None, [self._drain])]:
            lines = sum(len(block.lines) for queue in self._queues for block in queue)
            log.info("waiting_for_blocks", partitions=sorted(self._writes), lines=lines)
            await asyncio.wait(tasks)

    def flush_refusals(self) -> None:
        """Send the refusals that no block has taken along in a block of their own."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        if self._drain or self._writes:  # a block is under way; the next one may never come
            self._schedule_flush()
        elif self._refused:
            self._find_room(0, 0, self._last_refusal)

    def _find_room(self, partition: int, size: int, received: int) -> Block:
        queue = self._queues[partition]
        if queue and queue[-1].size + size <= BLOCK_BYTES:
            return queue[-1]
        block = Block(received)
        queue.append(block)
        self._go_on()
        return block

    def _go_on(self) -> None:
        if self._drain is None and self._find_ready():
            self._drain = self._loop.create_task(self._write_all(), name="blocks")

    def _find_ready(self) -> Sequence[int]:
        return [number for number, queue in enumerate(self._queues) if queue and number not in self._writes]

    async def _write_all(self) -> None:
        try:
            while self._find_ready():
                await self._gather()
                started = [self._start(partition) for partition in self._find_ready()]
                await asyncio.wait(started, timeout=TOGETHER_SECONDS)
        finally:
            self._drain = None

    def _start(self, partition: int) -> asyncio.Task[None]:
        write = self._write(partition, self._queues[partition].popleft())
        task = self._writes[partition] = self._loop.create_task(write, name=f"blocks {partition}")
        task.add_done_callback(lambda _: self._end(partition))
        return task

    def _end(self, partition: int) -> None:
        del self._writes[partition]
        self._go_on()

    async def _gather(self) -> None:
        """Let the loop come round until it brings no request, or for `GATHER_SECONDS`."""
        until = self._loop.time() + GATHER_SECONDS
        known = -1
        while known != self._requests and self._loop.time() < until:
            known = self._requests
            await asyncio.sleep(0)

    async def _write(self, partition: int, block: Block) -> None:
        refused = self._take_refusals()
        started = self._loop.time()
        error: Exception | None = LogUnavailableError("given up")  # until it is known to be durable
        try:
            await self._log.append(partition, to_headers(block, refused), b"".join(block.lines))
            error = None
            self._observe(len(block.lines), self._loop.time() - started)
        except Exception as failure:  # noqa: BLE001 - whatever it is, it is not durable, and its waiters must hear so
            error = failure
            self._refused.update(refused)
            self._note(failure)
        finally:
            self.waiting -= block.size
            for waiter in block.waiters:
                waiter(error)

    def _take_refusals(self) -> dict[CountKey, int]:
        taken = dict(islice(self._refused.items(), MAX_COUNTS))
        for key in taken:
            del self._refused[key]
        return taken

    def _note(self, failure: Exception) -> None:
        if not isinstance(failure, LogUnavailableError):
            log.error("log_append_failed", exc_info=failure)
        self._schedule_flush()

    def _schedule_flush(self) -> None:
        if self._refused and self._flush is None and not self._stopped:
            self._flush = self._loop.call_later(FLUSH_SECONDS, self.flush_refusals)


def to_parts(lines: Sequence[bytes]) -> Sequence[Sequence[bytes]]:
    """Divide lines, in order, so that each part fits into a block."""
    if sum(map(len, lines)) <= BLOCK_BYTES:
        return (lines,)
    parts: list[list[bytes]] = []
    room = 0
    for line in lines:
        room -= len(line)
        if room < 0:
            parts.append([])
            room = BLOCK_BYTES - len(line)
        parts[-1].append(line)
    return parts


def to_headers(block: Block, refused: Mapping[CountKey, int]) -> BlockHeaders:
    """Give the headers of a block that takes `refused` along."""
    counts = Counter(block.counts)
    counts.update(refused)
    return BlockHeaders(
        lines=len(block.lines),
        first_received=block.first,
        last_received=block.last,
        counts=tuple(ReceiptCount(*key, count) for key, count in counts.items()),
    )
