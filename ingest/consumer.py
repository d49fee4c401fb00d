"""From the log to the warehouse: for each batch gather, prepare, judge, land, mark done.

The consumer keeps no session state: what it writes is a function of the batch, the facts and the ids that are stored.
Nothing of a batch is written before all of the batch before it has landed; only preparing overlaps with landing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import stamina
import structlog

from ingest.dead_letters import DeadLetters
from ingest.duplicates import Duplicates
from ingest.gathering import Gathered, Gatherer, Sizes, first_of
from ingest.judging import Judge
from ingest.lately_seen import HOUR, LatelySeen
from ingest.log import LogUnavailableError
from ingest.preparing import Prepared, Preparer, join
from ingest.progress import read_progress
from ingest.unconsumed import Unconsumed
from ingest.upkeep import LATELY_SLACK, Upkeep
from ingest.writer import Landing, Writer, no_failpoint, to_month_numbers
from schemas.completeness import Completeness
from schemas.event import SiteId
from schemas.warehouse.errors import WarehouseError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ingest.consumer_metrics import ConsumerMetrics
    from ingest.disk import DiskBudget
    from ingest.duplicates import Sends
    from ingest.enrich.pipeline import Enricher
    from ingest.log import EventLog
    from ingest.preparing import Sources
    from ingest.progress import Marks, Progress
    from schemas.versions import SiteVersions
    from schemas.warehouse.client import Warehouse

DRAIN_SECONDS = 20.0
TRIM_EVERY = 1_000
WAIT_FOR_ROOM = 2.0
logger = structlog.get_logger()

ConsumerState = Literal["starting", "running", "over-budget", "warehouse-unavailable", "waiting-for-facts", "stopped"]


@dataclass(frozen=True, slots=True)
class Parts:
    """What a consumer works with. `number` is the log's `_log`."""

    log: EventLog
    number: int
    warehouse: Warehouse
    sources: Sources
    enricher: Enricher
    disk: DiskBudget
    versions: SiteVersions
    metrics: ConsumerMetrics


@dataclass(frozen=True, slots=True)
class Batch:
    """Blocks and the rows made of them."""

    gathered: Gathered
    prepared: Prepared


class OverBudgetError(Exception):
    """Stopped while the warehouse was over its disk budget; what was gathered stays in the log."""


class Consumer:
    """Consumes every partition of one log. `failpoint` is called by name wherever a crash must do no harm."""

    def __init__(
        self, parts: Parts, sizes: Sizes | None = None, failpoint: Callable[[str], None] = no_failpoint
    ) -> None:
        self._parts = parts
        self._sizes = sizes or Sizes()
        self._failpoint = failpoint
        self._clock = parts.sources.clock
        self._stop = asyncio.Event()
        self._duplicates = Duplicates(parts.warehouse, LatelySeen())
        self.dead_letters = DeadLetters(parts.warehouse, parts.log, parts.number)
        self._judge = Judge(self._duplicates, self.dead_letters)
        self._writer = Writer(parts.warehouse, parts.number, self.dead_letters, failpoint)
        self._preparer = Preparer(parts.number, parts.enricher, parts.sources)
        self._gatherer = Gatherer(parts.log, self._sizes, self._stop)
        self._unconsumed = Unconsumed(parts.log)
        self._state: ConsumerState = "starting"
        self._trimmed = 0
        self._listeners: list[Callable[[frozenset[SiteId], int], None]] = []
        self.between_batches = asyncio.Lock()

    @property
    def state(self) -> ConsumerState:
        """What it does now, or what it waits for."""
        if self._state != "running":
            return self._state
        if self._writer.failures:
            return "warehouse-unavailable"
        return "waiting-for-facts" if self._preparer.is_waiting else "running"

    @property
    def consumed(self) -> Sequence[int]:
        """The next position to consume of every partition; empty before the start has found it out."""
        return self._unconsumed.positions

    def load(self) -> None:
        """Load the lists of enrichment now and not at the first batch; may run in a thread."""
        self._parts.enricher.load()

    def listen(self, listener: Callable[[frozenset[SiteId], int], None]) -> None:
        """Call it after each landed batch with the sites that have new rows and the latest receipt time (epoch ms)."""
        self._listeners.append(listener)

    async def completeness(self) -> Completeness:
        """Say up to which receipt time everything that was acknowledged has landed."""
        now = self._clock()
        oldest = await self._unconsumed.oldest_from(await self._find_positions(), now)
        return Completeness(oldest, max(0, now - oldest) / 1000, exact=True)

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop`, then land what was gathered and return.

        Raise LogDamagedError when the log is not the one that the warehouse knows. A warehouse or control plane that is
        down is waited for; after `stop` only for `DRAIN_SECONDS`, then what was gathered stays in the log.
        """
        working = asyncio.create_task(self._work())
        passing_on = asyncio.create_task(self._pass_on(stop, working))
        try:
            await asyncio.wait([working])
        finally:
            self._state = "stopped"
            await _end(working, passing_on)
        if not working.cancelled():
            working.result()

    async def _work(self) -> None:
        progress = await self._start()
        self._state = "running"
        salts = self._parts.sources.salts
        upkeep = asyncio.create_task(Upkeep(self._unconsumed, self._duplicates, salts, self._clock).run())
        try:
            await self._consume(progress)
        except OverBudgetError:
            logger.warning("consumer_stops_over_budget")
        finally:
            await _end(upkeep)

    async def _find_positions(self) -> Sequence[int]:
        """The consumed positions, also where no consumer has been started."""
        if self.consumed:
            return self.consumed
        return (await read_progress(self._parts.warehouse, self._parts.log, self._parts.number)).begins

    async def _start(self) -> Progress:
        async for attempt in stamina.retry_context(
            on=(WarehouseError, LogUnavailableError), attempts=None, timeout=None
        ):
            with attempt:
                progress = await read_progress(self._parts.warehouse, self._parts.log, self._parts.number)
                self._unconsumed.positions = progress.begins
                oldest = await self._unconsumed.oldest(self._clock())
                await self._duplicates.load(oldest - HOUR - LATELY_SLACK)
        logger.info("consumer_starts", positions=list(progress.begins), resumes=progress.leftover is not None)
        return progress

    async def _consume(self, progress: Progress) -> None:
        """Land one batch after the other; meanwhile the next is gathered and prepared."""
        upcoming = asyncio.create_task(self._next_batch(progress.begins, progress))
        try:
            while (batch := await upcoming) is not None:
                is_last = self._stop.is_set()
                if not is_last:
                    upcoming = asyncio.create_task(self._next_batch(batch.gathered.ends, progress))
                await self._land(batch, progress)
                if is_last:
                    break
        finally:
            await _end(upcoming)

    async def _next_batch(self, begins: Sequence[int], progress: Progress) -> Batch | None:
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
        async with self.between_batches:
            with self._parts.metrics.seconds.labels("judge").time():
                landing, sends = await self._judge_surely(batch, marks)
            with self._parts.metrics.seconds.labels("land").time():
                await self._writer.land(landing)
            self._finish(landing, sends)
        self._gatherer.ready.set()
        await self._tell_log(batch.gathered)

    async def _judge_surely(self, batch: Batch, marks: Marks | None) -> tuple[Landing, Sends]:
        async for attempt in stamina.retry_context(on=WarehouseError, attempts=None, timeout=None):
            with attempt:
                return await self._judge.judge(batch.gathered, batch.prepared, marks)
        raise AssertionError

    async def _wait_for_room(self) -> None:
        """Wait while the warehouse is over its disk budget; the log goes on until its own."""
        while not await self._has_room():
            if self._state != "over-budget":
                logger.warning("warehouse_over_budget")
                self._state = "over-budget"
            await first_of(WAIT_FOR_ROOM, self._stop.wait())
            if self._stop.is_set():
                raise OverBudgetError
        self._state = "running"

    async def _has_room(self) -> bool:
        try:
            return await self._parts.disk.has_room()
        except WarehouseError:
            return True  # the insert will say what is wrong

    def _finish(self, landing: Landing, sends: Sends) -> None:
        """Take note of what has landed and tell it."""
        self._unconsumed.positions = landing.ends
        self._duplicates.remember(sends)
        sites = frozenset(SiteId(site) for site in np.unique(landing.events.column("site_id").to_numpy()).tolist())
        self._parts.versions.bump(sites)
        latest = max(record.headers.last_received for record in landing.records)
        self._parts.metrics.count(landing, latest)
        for listener in self._listeners:
            listener(sites, latest)

    async def _tell_log(self, gathered: Gathered) -> None:
        """Commit the positions and let go of the blocks; a failure means nothing, since the receipts have landed."""
        positions = dict(enumerate(gathered.ends))
        try:
            await self._parts.log.commit(positions)
            self._failpoint("committed")
            if not self._trimmed <= self._clock() < self._trimmed + TRIM_EVERY:
                self._trimmed = self._clock()
                await asyncio.gather(*(self._parts.log.trim(*item) for item in positions.items()))
        except LogUnavailableError as error:
            logger.warning("log_not_told", problem=str(error))

    async def _pass_on(self, stop: asyncio.Event, working: asyncio.Task[None]) -> None:
        await stop.wait()
        self._stop.set()
        await asyncio.sleep(DRAIN_SECONDS)
        logger.warning("consumer_gives_up", state=self.state)
        working.cancel()


async def _end(*tasks: asyncio.Task[None] | asyncio.Task[Batch | None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _is_before(begins: Sequence[int], ends: Sequence[int]) -> bool:
    return any(begin < end for begin, end in zip(begins, ends, strict=True))
