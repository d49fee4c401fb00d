"""How far consumers in other processes have come, for those who answer questions: read from what they have committed.

A position is committed after everything before it has landed, so it is never too high. It is looked at a few times a
second by one task, however many ask; what is known stays true while the log cannot be read, it only grows old.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import SQLAlchemyError

from ingest.copies import is_exact
from ingest.log import LogDamagedError, LogUnavailableError
from ingest.unconsumed import Unconsumed
from schemas.completeness import Completeness
from schemas.event import SiteId
from schemas.warehouse.errors import WarehouseError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ingest.copies import Checked
    from ingest.log import EventLog
    from ingest.progress import Positions
    from schemas.versions import SiteVersions
    from schemas.warehouse.client import Warehouse

EVERY_SECONDS = 0.25
CHANGED_SITES = """
SELECT DISTINCT site_id FROM receipts
WHERE _log = {log:UInt16} AND _offset >= {begins:Array(UInt64)}[_partition + 1]
    AND _offset < {ends:Array(UInt64)}[_partition + 1] AND site_id != 0
"""
ERASURES = "SELECT max(erasure) AS erasure, groupUniqArray(site_id) AS sites FROM erased"
logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Known:
    """What was committed, and up to which receipt time (epoch ms) everything was in the warehouse then."""

    positions: Positions
    received_up_to: int


@dataclass(frozen=True, slots=True)
class FollowedLog:
    """A log and its number in the control plane."""

    log: EventLog
    number: int


class Following:
    """Follows the consumers of one log; `versions` are raised for the sites whose rows have changed.

    `read_checked` tells how far copies in partitions of different consumers have been looked for.
    """

    def __init__(
        self,
        followed: FollowedLog,
        warehouse: Warehouse,
        versions: SiteVersions,
        read_checked: Callable[[], Awaitable[Checked | None]],
        clock: Callable[[], int],
    ) -> None:
        self._log = followed.log
        self._number = followed.number
        self._warehouse = warehouse
        self._versions = versions
        self._read_checked = read_checked
        self._clock = clock
        self._unconsumed = Unconsumed(followed.log)
        self._known: Known | None = None
        self._erasure = -1
        self._checked: Checked | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Look until `stop`."""
        while not stop.is_set():
            try:
                await self.look()
            except (LogUnavailableError, LogDamagedError, WarehouseError, SQLAlchemyError) as error:
                logger.debug("not_followed", problem=str(error)[:200])
            try:
                await asyncio.wait_for(stop.wait(), EVERY_SECONDS)
            except TimeoutError:
                continue

    async def look(self) -> Known:
        """Read what is committed now and tell whose rows have changed since the last look.

        Raise LogUnavailableError, LogDamagedError, WarehouseError, SQLAlchemyError; then the next look tells it.
        """
        now = self._clock()
        committed = await self._log.committed()
        positions = {partition: committed[partition] for partition in range(self._log.partitions)}
        known = Known(positions, await self._unconsumed.oldest_from(positions, now))
        if self._known is not None and positions != self._known.positions:
            await self._tell_changes(self._known.positions, positions)
        await self._tell_erasures()
        await self._tell_copies()
        self._known = known
        return known

    async def known(self) -> Known:
        """What the last look found; the first one to ask looks. Raise what `look` does."""
        return self._known or await self.look()

    async def completeness(self) -> Completeness:
        """Say up to which receipt time everything that was acknowledged has landed."""
        known = await self.known()
        lag = max(0, self._clock() - known.received_up_to) / 1000
        return Completeness(known.received_up_to, lag, exact=is_exact(self._checked, known.positions))

    async def _tell_changes(self, before: Positions, now: Positions) -> None:
        parameters = {"log": self._number, "begins": list(before.values()), "ends": list(now.values())}
        rows = await self._warehouse.query(CHANGED_SITES, parameters)
        self._versions.bump(SiteId(site) for site in rows.column("site_id").to_pylist())

    async def _tell_erasures(self) -> None:
        """An erasure changes rows and moves no position."""
        row = (await self._warehouse.query(ERASURES)).to_pylist()[0]
        if self._erasure not in {-1, row["erasure"]}:
            self._versions.bump(SiteId(site) for site in row["sites"])
        self._erasure = row["erasure"]

    async def _tell_copies(self) -> None:
        checked = await self._read_checked()
        if checked is not None and self._checked is not None and checked.look != self._checked.look:
            self._versions.bump(checked.sites)
        self._checked = checked
