"""One consumer's time with a share of the log: take it over, land one batch after the other, let it go.

Nothing of a batch is written before all of the batch before it has landed; only preparing overlaps with landing. What
is known of the warehouse is read after the takeover and trusted until the end; where an insert is refused (`fenced`) or
its answer was lost, the stint ends and a new one begins with a new takeover and reads everything anew.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import structlog

from ingest.dead_letters import DeadLetters
from ingest.duplicates import Duplicates
from ingest.fences import take_over
from ingest.gathering import Gathered, Gatherer, Sizes, first_of
from ingest.judging import Judge
from ingest.lately_seen import HOUR, LatelySeen
from ingest.log import LogUnavailableError, ShareLostError
from ingest.preparing import Prepared, Preparer, join
from ingest.progress import read_progress
from ingest.retrying import retrying
from ingest.unconsumed import Unconsumed
from ingest.upkeep import LATELY_SLACK, Upkeep
from ingest.writer import Landing, Writer, to_month_numbers
from schemas.warehouse.errors import WarehouseError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.consumer_metrics import ConsumerMetrics
    from ingest.disk import DiskBudget
    from ingest.duplicates import Sends
    from ingest.enrich.pipeline import Enricher
    from ingest.log import EventLog, Share
    from ingest.preparing import Sources
    from ingest.progress import Marks, Positions, Progress
    from schemas.versions import SiteVersions
    from schemas.warehouse.client import Warehouse

TRIM_EVERY = 1_000
TELL_EVERY = 2.0  # seconds
WAIT_FOR_ROOM = 2.0
logger = structlog.get_logger()

StintState = Literal["starting", "running", "over-budget", "warehouse-unavailable", "waiting-for-facts"]


@dataclass(frozen=True, slots=True)
class Parts:
    """What a consumer works with. `number` is the log's `_log`, `member` its own name among those who consume it."""

    log: EventLog
    number: int
    warehouse: Warehouse
    sources: Sources
    enricher: Enricher
    disk: DiskBudget
    versions: SiteVersions
    metrics: ConsumerMetrics
    member: str = "alone"


@dataclass(frozen=True, slots=True)
class Hooks:
    """Who is called: `failpoint` by name wherever a crash must do no harm, `landed` after each batch.

    `between_batches` is held while a batch lands.
    """

    failpoint: Callable[[str], None]
    landed: Callable[[Landing], None]
    between_batches: asyncio.Lock


@dataclass(frozen=True, slots=True)
class Batch:
    """Blocks and the rows made of them."""

    gathered: Gathered
    prepared: Prepared


class OverBudgetError(Exception):
    """Stopped while the warehouse was over its disk budget; what was gathered stays in the log."""


class Stint:
    """Consumes the partitions of a share until `closing` is set, then lands what was gathered."""

    def __init__(self, parts: Parts, share: Share, closing: asyncio.Event, sizes: Sizes, hooks: Hooks) -> None:
        self._parts = parts
        self._share = share
        self._closing = closing
        self._sizes = sizes
        self._hooks = hooks
        self._clock = parts.sources.clock
        self._duplicates = Duplicates(parts.warehouse, LatelySeen())
        dead_letters = DeadLetters(parts.warehouse, parts.log, parts.number)
        self._judge = Judge(self._duplicates, dead_letters)
        self._writer = Writer(parts.warehouse, parts.number, dead_letters, hooks.failpoint)
        self._preparer = Preparer(parts.number, parts.enricher, parts.sources)
        self._gatherer = Gatherer(parts.log, sizes, closing)
        self._unconsumed = Unconsumed(parts.log)
        self._state: StintState = "starting"
        self._trimmed = 0
        self._told: Positions = {}
        self._committing = asyncio.Lock()

    @property
    def state(self) -> StintState:
        """What it does now, or what it waits for."""
        if self._state != "running":
            return self._state
        if self._writer.failures:
            return "warehouse-unavailable"
        return "waiting-for-facts" if self._preparer.is_waiting else "running"

    @property
    def consumed(self) -> Positions:
        """The next position to consume of every partition of the share; empty before it was found out."""
        return self._unconsumed.positions

    async def run(self) -> None:
        """Take over and consume.

        Raise WarehouseFencedError when somebody else took over, WarehouseUnknownError when the answer to an insert was
        lost, ShareLostError when the log gave the share to somebody else, LogDamagedError when the log is not the one
        that the warehouse knows. A warehouse or control plane that is down is waited for.
        """
        progress = await self._start()
        self._state = "running"
        beside = [asyncio.create_task(self._keep_up()), asyncio.create_task(self._keep_told())]
        try:
            await self._consume(progress)
        except OverBudgetError:
            logger.warning("consumer_stops_over_budget")
        finally:
            await end(*beside)

    async def _keep_up(self) -> None:
        await Upkeep(self._unconsumed, self._duplicates, self._parts.sources.salts, self._clock).run()

    async def _keep_told(self) -> None:
        """Commit what the log has not heard: who landed it may have lost the share, or the log was away just then.

        Those who ask how far all has been consumed would wait for the next batch, and that may never come.
        """
        while True:
            if self._told != self.consumed:
                try:
                    await self._commit()
                except (LogUnavailableError, ShareLostError) as error:  # one that is lost ends by itself
                    logger.warning("log_not_told", problem=str(error))
            await asyncio.sleep(TELL_EVERY)

    async def _start(self) -> Progress:
        parts, partitions = self._parts, self._share.partitions
        async for attempt in retrying(LogUnavailableError):
            with attempt:
                if parts.warehouse.is_shared:
                    self._writer.fence = await take_over(parts.warehouse, parts.number, partitions, parts.member)
                self._hooks.failpoint("taken-over")
                progress = await read_progress(parts.warehouse, parts.log, parts.number, partitions)
                self._unconsumed.positions = progress.begins
                oldest = await self._unconsumed.oldest(self._clock())
                await self._duplicates.load(parts.number, partitions, oldest - HOUR - LATELY_SLACK)
        positions = {str(partition): position for partition, position in progress.begins.items()}
        logger.info("consumer_starts", positions=positions, resumes=progress.leftover is not None)
        return progress

    async def _consume(self, progress: Progress) -> None:
        """Land one batch after the other; meanwhile the next is gathered and prepared."""
        upcoming = asyncio.create_task(self._next_batch(progress.begins, progress))
        try:
            while (batch := await upcoming) is not None:
                is_last = self._closing.is_set()
                if not is_last:
                    upcoming = asyncio.create_task(self._next_batch(batch.gathered.ends, progress))
                await self._land(batch, progress)
                if is_last:
                    break
        finally:
            await end(upcoming)

    async def _next_batch(self, begins: Positions, progress: Progress) -> Batch | None:
        leftover = progress.leftover if _is_before(begins, progress.landed) else None
        if progress.ends is not None and begins == progress.begins:
            gathered: Gathered | None = await self._gatherer.gather_exactly(begins, progress.ends)
        else:
            gathered = await self._gatherer.gather(begins)
        if gathered is None:
            return None
        with self._parts.metrics.seconds.labels("prepare").time():
            prepared = await self._preparer.prepare(gathered.records, leftover)
        batch = Batch(gathered, prepared)
        if leftover is None and len(np.unique(to_month_numbers(prepared.events))) > self._sizes.months:
            return await self._widen(batch)
        return batch

    async def _widen(self, batch: Batch) -> Batch:
        """Add what comes within some seconds: a batch of many months costs an insert for each of them."""
        more = await self._gatherer.gather_wider(batch.gathered, self._sizes.wide_age)
        prepared = await self._preparer.prepare(more.records, None)
        gathered = Gathered(batch.gathered.begins, more.ends, [*batch.gathered.records, *more.records])
        return Batch(gathered, join([batch.prepared, prepared]))

    async def _land(self, batch: Batch, progress: Progress) -> None:
        """Write the batch; when this returns everything of it is in the warehouse."""
        self._gatherer.ready.clear()
        await self._wait_for_room()
        is_leftover = progress.leftover is not None and _is_before(batch.gathered.begins, progress.landed)
        marks = progress.leftover.marks if progress.leftover is not None and is_leftover else None
        async with self._hooks.between_batches:
            with self._parts.metrics.seconds.labels("judge").time():
                landing, sends = await self._judge_surely(batch, marks)
            with self._parts.metrics.seconds.labels("land").time():
                await self._writer.land(landing)
            self._unconsumed.positions = landing.ends
            self._duplicates.remember(sends)
            self._hooks.landed(landing)
        self._gatherer.ready.set()
        await self._tell_log()

    async def _judge_surely(self, batch: Batch, marks: Marks | None) -> tuple[Landing, Sends]:
        async for attempt in retrying():
            with attempt:
                return await self._judge.judge(batch.gathered, batch.prepared, marks)
        raise AssertionError

    async def _wait_for_room(self) -> None:
        """Wait while the warehouse is over its disk budget; the log goes on until its own."""
        while not await self._has_room():
            if self._state != "over-budget":
                logger.warning("warehouse_over_budget")
                self._state = "over-budget"
            await first_of(WAIT_FOR_ROOM, self._closing.wait())
            if self._closing.is_set():
                raise OverBudgetError
        self._state = "running"

    async def _has_room(self) -> bool:
        try:
            return await self._parts.disk.has_room()
        except WarehouseError:
            return True  # the insert will say what is wrong

    async def _tell_log(self) -> None:
        """Commit the positions and let go of the blocks; a failure means nothing, since the receipts have landed."""
        try:
            await self._commit()
            self._hooks.failpoint("committed")
            if not self._trimmed <= self._clock() < self._trimmed + TRIM_EVERY:
                self._trimmed = self._clock()
                await self._unconsumed.let_go()
        except LogUnavailableError as error:
            logger.warning("log_not_told", problem=str(error))

    async def _commit(self) -> None:
        """Commit how far all is consumed; one at a time, so that none goes back behind another."""
        async with self._committing:
            positions = dict(self.consumed)
            await self._share.commit(positions)
            self._told = positions


async def end(*tasks: asyncio.Task[object]) -> None:
    """Cancel the tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _is_before(begins: Positions, ends: Positions) -> bool:
    return any(begin < ends[partition] for partition, begin in begins.items())
