"""After the hand-over: the rest of the old log is consumed into the new warehouse, until nobody appends any more.

The old server goes on collecting until it is stopped. Its log is then sealed, so that a collector that was forgotten
answers 503 and acknowledges nothing that nobody would read.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, closing, suppress
from typing import TYPE_CHECKING

import aiohttp
from prometheus_client import CollectorRegistry
from sqlalchemy.exc import SQLAlchemyError

from deploy.asking import ask_server, is_served
from deploy.clock import read_clock
from deploy.copying_ledger import Extent, find_open, read_cells
from deploy.copying_proof import find_erased_later
from deploy.lock import FolderInUseError, holding
from deploy.promote_absence import Absence
from deploy.terminal import CommandError
from ingest.consumer import Consumer, Parts
from ingest.consumer_metrics import ConsumerMetrics
from ingest.disk import DiskBudget
from ingest.enrich.geo import GeoWatch
from ingest.enrich.pipeline import Enricher, EnrichMetrics
from ingest.log import DEAD
from ingest.log.open import open_log, parse_url
from ingest.log.sqlite_file import POSITION_BITS, connect, transaction
from ingest.log.sqlite_room import Keeping
from ingest.preparing import Sources
from ingest.salts import Salts
from ingest.site_facts import SiteFactsReader
from schemas.versions import SiteVersions

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from deploy.promote_control import Carrier
    from deploy.promote_copy import Show
    from deploy.promote_goal import Sides
    from deploy.promote_note import Note
    from deploy.settings import Settings
    from ingest.log import EventLog

CARRY_SECONDS, LOOK_SECONDS = 1.0, 0.05
# Dead lines may still come, of what is consumed last.
SEAL = f"""
CREATE TRIGGER IF NOT EXISTS the_log_was_promoted BEFORE INSERT ON records WHEN NEW.id >> {POSITION_BITS} != {DEAD}
BEGIN SELECT RAISE(ABORT, 'this log was promoted: nothing reads it any more'); END
"""
CONSUMED = """
SELECT _partition, uniqExact(_offset) AS blocks FROM receipts
WHERE _log = {log:UInt16} AND _offset >= {begins:Array(UInt64)}[_partition + 1]
    AND _offset < {ends:Array(UInt64)}[_partition + 1]
GROUP BY _partition
"""


class Follower:
    """Follows the old log and the old control plane, until old server and collectors are gone for `grace` seconds."""

    def __init__(self, sides: Sides, carrier: Carrier, grace: float) -> None:
        self._settings = sides.settings
        self._warehouse = sides.warehouse
        self._new = sides.new
        self._carrier = carrier
        self._grace = grace
        self._said = ""

    async def follow(self, note: Note, old: AsyncEngine, show: Show) -> list[int]:
        """Consume and carry until the old server has stopped and its log is empty; give where the log ends.

        Facts of sites come from the old control plane, which the old collectors know; salts are the new one's.
        """
        async with AsyncExitStack() as stack:
            log = await open_log(self._settings.log, Keeping(self._settings.log_budget), read_clock)
            stack.push_async_callback(log.close)
            facts = SiteFactsReader(old)
            stack.callback(facts.close)
            consumer = Consumer(self._make_parts(log, note, facts))
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(consumer.run(stop))
                await self._wait_for_old_server(stack, log, show)
                await asyncio.to_thread(seal, self._settings)
                ends = await read_ends(log)
                while [consumer.consumed.get(partition) for partition in range(log.partitions)] != ends:  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_SECONDS)
                stop.set()
            await self.carry_last()
            return ends

    async def wait(self, show: Show) -> None:
        """Where the log stays: carry until the old server has stopped; what it held is consumed by the new one."""
        async with AsyncExitStack() as stack:
            await self._wait_for_old_server(stack, None, show)
            await self.carry_last()

    async def verify_rest(self, note: Note, ends: list[int], erasure: int) -> list[str]:
        """What is wrong with what was consumed here; nothing when every block is accounted for and the ledger closes.

        Sites of which something was erased since are left out.
        """
        parameters = {"log": note.number, "begins": list(note.positions), "ends": ends}
        rows = (await self._warehouse.query(CONSUMED, parameters)).to_pylist()
        found = {row["_partition"]: row["blocks"] for row in rows}
        problems = [
            f"log partition {partition}: {end - begin} blocks came, {found.get(partition, 0)} landed"
            for partition, (begin, end) in enumerate(zip(note.positions, ends, strict=True))
            if found.get(partition, 0) != end - begin
        ]
        cells = await read_cells(self._warehouse, Extent([*range(1, note.number + 1)], note.number, ends, erasure))
        without = await find_erased_later(self._warehouse, erasure)
        return problems + find_open({key: count for key, count in cells.items() if key[0] not in without})

    async def carry_last(self) -> None:
        """Carry until nothing changes any more; the old server has stopped."""
        while await self._carrier.carry():
            pass

    async def _wait_for_old_server(self, stack: AsyncExitStack, log: EventLog | None, show: Show) -> None:
        """Return when the old server has gone and cannot come back: its folder is held, from now on by this process.

        Where the log stays the new server may be on that folder already.
        """
        clock = asyncio.get_running_loop().time
        absence = Absence(self._grace, clock(), clock(), await read_ends(log))
        told = False
        while not absence.is_final(clock()) or not self._enter(stack):
            await self.carry(show)
            served = await is_served(self._settings.data)
            if served and log is None and await self._is_followed():
                return
            if absence.look(clock(), await read_ends(log), is_served=served) and not told:
                show.say("handed over: switch to the new settings, then stop the old server; this waits for that")
                told = True
            await asyncio.sleep(CARRY_SECONDS / 2)

    async def _is_followed(self) -> bool:
        """Whether the server on the folder is not the old one any more."""
        with suppress(CommandError, aiohttp.ClientError):  # it has just stopped
            return not (await ask_server(self._settings.data, "promote-standing", {}))["stands_still"]
        return False

    def _enter(self, stack: AsyncExitStack) -> bool:
        """Hold the folder from now on, if nobody does."""
        try:
            stack.enter_context(holding(self._settings.data))
        except FolderInUseError:
            return False
        return True

    async def carry(self, show: Show) -> None:
        """Carry; a change that cannot be carried is told once, and so is a new control plane that is away."""
        before = self._said
        try:
            await self._carrier.carry()
            self._said = self._carrier.problem
        except (SQLAlchemyError, OSError) as error:
            reason = getattr(error, "orig", None) or error
            self._said = f"changes of the old control plane wait, and are tried again: {reason}"
        if self._said not in {"", before}:
            show.say(self._said)

    def _make_parts(self, log: EventLog, note: Note, facts: SiteFactsReader) -> Parts:
        registry = CollectorRegistry()
        settings = self._settings
        geo = GeoWatch(settings.geo_path, read_clock)
        return Parts(
            log,
            note.number,
            self._warehouse,
            Sources(facts, Salts(self._new, read_clock), geo.current, read_clock),
            Enricher(EnrichMetrics(registry)),
            DiskBudget(self._warehouse, settings.data, 0, read_clock),  # the setting was for the embedded one
            SiteVersions(),
            ConsumerMetrics(registry),
            f"promotion-{note.id}",
        )


async def read_ends(log: EventLog | None) -> list[int]:
    """Where each partition ends, of a log that is followed."""
    return [] if log is None else [(await log.bounds(partition)).end for partition in range(log.partitions)]


def seal(settings: Settings) -> None:
    """Let the log take nothing more, from anybody, for ever."""
    with closing(connect(parse_url(settings.log)[0])) as connection, transaction(connection):
        connection.execute(SEAL)
