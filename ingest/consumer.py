"""From the log to the warehouse: for each batch gather, prepare, judge, land, mark done.

A consumer is a member of those who consume the log; it works on one share of the partitions after the other, each in
one stint or more. It keeps no session state: what it writes is a function of the batch, the facts and the ids that are
stored.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

import numpy as np
import structlog

from ingest.dead_letters import DeadLetters
from ingest.gathering import Sizes, first_of
from ingest.lag import watch_lag
from ingest.log import LogUnavailableError, ShareLostError
from ingest.progress import read_progress
from ingest.retrying import retrying
from ingest.stint import Hooks, Parts, Stint, StintState, end
from ingest.unconsumed import Unconsumed
from ingest.writer import no_failpoint
from schemas.completeness import Completeness
from schemas.event import SiteId
from schemas.warehouse.errors import WarehouseFencedError, WarehouseUnknownError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.log import Group, Share
    from ingest.progress import Positions
    from ingest.writer import Landing

__all__ = ["Consumer", "Parts"]

DRAIN_SECONDS = 20.0
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5.0  # seconds between two stints of a share, doubled each time
logger = structlog.get_logger()

ConsumerState = Literal[StintState, "idle", "stopped"]


class Consumer:
    """Consumes its share of one log. `failpoint` is called by name wherever a crash must do no harm."""

    def __init__(
        self, parts: Parts, sizes: Sizes | None = None, failpoint: Callable[[str], None] = no_failpoint
    ) -> None:
        self._parts = parts
        self._sizes = sizes or Sizes()
        self._clock = parts.sources.clock
        self._stop = asyncio.Event()
        self.between_batches = asyncio.Lock()
        self._hooks = Hooks(failpoint, self._note, self.between_batches)
        self.dead_letters = DeadLetters(parts.warehouse, parts.log, parts.number)
        self._unconsumed = Unconsumed(parts.log)
        self._stint: Stint | None = None
        self._state: ConsumerState = "starting"
        self._landed = 0  # batches
        self._listeners: list[Callable[[frozenset[SiteId], int], None]] = []

    @property
    def state(self) -> ConsumerState:
        """What it does now, or what it waits for; `idle` has no partition."""
        return self._state if self._stint is None else self._stint.state

    @property
    def consumed(self) -> Positions:
        """The next position to consume of every partition that it has; empty before the start has found it out."""
        return {} if self._stint is None else self._stint.consumed

    def load(self) -> None:
        """Load the lists of enrichment now and not at the first batch; may run in a thread."""
        self._parts.enricher.load()

    def listen(self, listener: Callable[[frozenset[SiteId], int], None]) -> None:
        """Call it after each landed batch with the sites that have new rows and the latest receipt time (epoch ms)."""
        self._listeners.append(listener)

    async def find_positions(self) -> Positions:
        """The consumed position of every partition of the log, also where no consumer has been started."""
        everything = range(self._parts.log.partitions)
        consumed = self.consumed
        if len(consumed) == len(everything):
            return consumed
        return (await read_progress(self._parts.warehouse, self._parts.log, self._parts.number, everything)).begins

    async def completeness(self) -> Completeness:
        """Say up to which receipt time everything that was acknowledged has landed, where this is the only consumer."""
        now = self._clock()
        oldest = await self._unconsumed.oldest_from(await self.find_positions(), now)
        return Completeness(oldest, max(0, now - oldest) / 1000, exact=True)

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop`, then land what was gathered and return.

        Raise LogDamagedError when the log is not the one that the warehouse knows. A warehouse or control plane that is
        down is waited for; after `stop` only for `DRAIN_SECONDS`, then what was gathered stays in the log.
        """
        passing_on = asyncio.create_task(self._pass_on(stop))
        try:
            await self._work()
        finally:
            self._state, self._stint = "stopped", None
            await end(passing_on)

    async def _work(self) -> None:
        async for attempt in retrying(LogUnavailableError):
            with attempt:
                group = await self._parts.log.join(self._parts.member)
        try:
            while (share := await self._next_share(group)) is not None:
                await self._serve(share)
                if self._stop.is_set():
                    break
        finally:
            await group.leave()

    async def _next_share(self, group: Group) -> Share | None:
        """The next share; None when it is time to stop and there is none yet."""
        async for attempt in retrying(LogUnavailableError):
            with attempt:
                waiting = asyncio.create_task(group.next_share())
                stopping = asyncio.create_task(self._stop.wait())
                try:
                    await asyncio.wait([waiting, stopping], return_when=asyncio.FIRST_COMPLETED)
                    return waiting.result() if waiting.done() else None
                finally:
                    await end(waiting, stopping)
        raise AssertionError

    async def _serve(self, share: Share) -> None:
        """Consume the share until others wait for it, or until it is time to stop."""
        logger.info("share_begins", partitions=list(share.partitions))
        self._state = "idle"
        try:
            if share.partitions:
                await self._consume(share)
            else:
                await first_of(None, self._stop.wait(), share.ended.wait())
        except ShareLostError as error:
            logger.warning("share_lost", problem=str(error))
        finally:
            self._stint = None
            share.release()
            logger.info("share_ends", partitions=list(share.partitions))

    async def _consume(self, share: Share) -> None:
        """One stint after the other. Raise ShareLostError when the share is no longer ours."""
        parts = self._parts
        watching = asyncio.create_task(
            watch_lag(parts.log, share, lambda: self.consumed, parts.metrics, self._clock), name="lag"
        )
        try:
            pause, landed = FIRST_PAUSE, self._landed
            while await self._begin_stint(share):
                pause = FIRST_PAUSE if self._landed > landed else min(pause * 2, LONGEST_PAUSE)
                landed = self._landed
                await first_of(pause, self._stop.wait(), share.ended.wait())
        finally:
            await end(watching)

    async def _begin_stint(self, share: Share) -> bool:
        """One stint; say whether the share needs another: somebody else took over, or an answer was lost.

        Raise ShareLostError when it is no longer ours.
        """
        closing = asyncio.Event()
        stint = self._stint = Stint(self._parts, share, closing, self._sizes, self._hooks)
        working = asyncio.create_task(stint.run())
        ending = asyncio.create_task(self._close(share, closing, working))
        try:
            await asyncio.wait([working])
            if working.cancelled():
                return False
            working.result()
        except (WarehouseFencedError, WarehouseUnknownError) as error:
            self._parts.metrics.count_restart(error)
            logger.warning("taking_over_again", problem=str(error)[:200])
            with suppress(LogUnavailableError):
                await share.commit(stint.consumed)  # the log refuses it where the share is lost
            return not closing.is_set()
        else:
            return False
        finally:
            await end(ending, working)

    async def _close(self, share: Share, closing: asyncio.Event, working: asyncio.Task[None]) -> None:
        """Let the stint end when it is time; after `DRAIN_SECONDS` at once."""
        await first_of(None, self._stop.wait(), share.ended.wait())
        closing.set()
        await asyncio.sleep(DRAIN_SECONDS)
        logger.warning("consumer_gives_up", state=self.state)
        working.cancel()

    async def _pass_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._stop.set()

    def _note(self, landing: Landing) -> None:
        """Tell what has landed."""
        self._landed += 1
        sites = frozenset(SiteId(site) for site in np.unique(landing.events.column("site_id").to_numpy()).tolist())
        self._parts.versions.bump(sites)
        latest = max(record.headers.last_received for record in landing.records)
        self._parts.metrics.count(landing, latest)
        for listener in self._listeners:
            listener(sites, latest)
