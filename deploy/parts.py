"""Opens what consumer, query and jobs share, in order, and closes it again in the opposite order."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploy.base import Base, open_base
from deploy.lock import holding
from deploy.terminal import SettingError
from deploy.urls import telling_of_warehouse
from ingest.consumer import Consumer
from ingest.consumer import Parts as ConsumerParts
from ingest.consumer_metrics import ConsumerMetrics
from ingest.copies import read_checked
from ingest.disk import DiskBudget
from ingest.enrich.geo import GeoWatch
from ingest.enrich.pipeline import Enricher, EnrichMetrics
from ingest.following import FollowedLog, Following
from ingest.log import LogDamagedError, LogUnavailableError
from ingest.logs import LogDividedAnewError, number_of_log
from ingest.preparing import Sources
from ingest.progress import read_progress
from ingest.retention import Retention
from ingest.salts import Salts
from ingest.site_facts import SiteFactsReader
from schemas.in_flight import InFlight, InFlightUnknownError
from schemas.versions import SiteVersions
from schemas.warehouse.client import Warehouse
from schemas.warehouse.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from deploy.settings import Settings
    from ingest.copies import Checked
    from ingest.progress import Positions, Progress
    from schemas.completeness import Completeness

WAREHOUSE_HANDLES = 6


@dataclass(frozen=True, slots=True)
class Parts:
    """What a process with a warehouse holds. `number` is the log's number in the control plane.

    `following` is there where consumers may be other processes; then what has landed is known by what they committed.
    """

    base: Base
    number: int
    warehouse: Warehouse
    versions: SiteVersions
    consumer: Consumer
    retention: Retention
    following: Following | None = None

    async def read_completeness(self) -> Completeness:
        """How much of what was acknowledged is in the warehouse."""
        if self.following is None:
            return await self.consumer.completeness()
        try:
            return await self.following.completeness()
        except LogUnavailableError as error:
            raise InFlightUnknownError(str(error)) from error

    async def read_positions(self) -> Positions:
        """The consumed position of every partition of the log: everything before it is in the warehouse."""
        if self.following is None:
            return await self.consumer.find_positions()
        return (await self.following.known()).positions

    async def read_in_flight(self) -> Sequence[InFlight]:
        """Headers of what waits in the log, per partition, from the consumed position on.

        Asked again when the log let go of records past a position meanwhile: none may be missing. Raise
        InFlightUnknownError when the log cannot be read, or not in the time that an answer may take.
        """
        try:
            return await self._read_in_flight()
        except LogUnavailableError as error:
            raise InFlightUnknownError(str(error)) from error

    async def _read_in_flight(self) -> Sequence[InFlight]:
        while True:
            positions = await self.read_positions()
            found = [await self._read_partition(*place) for place in positions.items()]
            bounds = {partition: await self.base.log.bounds(partition) for partition in positions}
            if all(bounds[partition].begin <= position for partition, position in positions.items()):
                return found

    async def read_progress(self) -> Progress:
        """What of the log has landed."""
        return await read_progress(self.warehouse, self.base.log, self.number, range(self.base.log.partitions))

    async def _read_partition(self, partition: int, position: int) -> InFlight:
        try:
            headers = await self.base.log.read_headers(partition, position)
        except LogDamagedError:  # let go of meanwhile; the caller sees it and asks again
            headers = ()
        return InFlight(self.number, partition, position, tuple(header for _, header in headers))


@asynccontextmanager
async def open_parts(settings: Settings, failpoint: Callable[[str], None]) -> AsyncIterator[Parts]:
    """Open everything; raise what the part says when one cannot be had, after closing those before it."""
    async with AsyncExitStack() as stack:
        if not settings.is_scaled:
            stack.enter_context(holding(settings.data))
        base = await stack.enter_async_context(open_base(settings))
        with telling_of_warehouse(settings):
            warehouse = Warehouse(settings.warehouse, WAREHOUSE_HANDLES)
            stack.push_async_callback(warehouse.close)
            await migrate(warehouse)
        facts = SiteFactsReader(base.control)
        stack.callback(facts.close)
        geo = GeoWatch(settings.geo_path, base.clock)
        number = await number_of_this_log(base)
        versions = SiteVersions()
        needed = ConsumerParts(
            base.log,
            number,
            warehouse,
            Sources(facts, Salts(base.control, base.clock), geo.current, base.clock),
            Enricher(EnrichMetrics(base.registry)),
            DiskBudget(warehouse, settings.data, settings.warehouse_budget, base.clock),
            versions,
            ConsumerMetrics(base.registry),
            settings.member_name,
        )
        retention = Retention(warehouse, base.control, versions, base.clock, failpoint)
        following = follow(base, number, warehouse, versions) if settings.is_scaled else None
        yield Parts(base, number, warehouse, versions, Consumer(needed, failpoint=failpoint), retention, following)


async def number_of_this_log(base: Base) -> int:
    """The log's number in the control plane; raise SettingError when its topic was divided anew."""
    try:
        return await number_of_log(base.control, base.log.identity, base.clock)
    except LogDividedAnewError as error:
        message = f"PULSE_LOG_URL: {error}"
        raise SettingError(message) from error


def follow(base: Base, number: int, warehouse: Warehouse, versions: SiteVersions) -> Following:
    """Follow the consumers of the log in other processes, and the job that looks for copies between them."""

    async def read_checked_copies() -> Checked | None:
        return await read_checked(base.control, number)

    return Following(FollowedLog(base.log, number), warehouse, versions, read_checked_copies, base.clock)
