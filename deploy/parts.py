"""Opens what consumer, query and jobs share, in order, and closes it again in the opposite order."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploy.base import Base, open_base
from deploy.lock import holding
from ingest.consumer import Consumer
from ingest.consumer import Parts as ConsumerParts
from ingest.consumer_metrics import ConsumerMetrics
from ingest.disk import DiskBudget
from ingest.enrich.geo import GeoWatch
from ingest.enrich.pipeline import Enricher, EnrichMetrics
from ingest.log import LogDamagedError
from ingest.logs import number_of_log
from ingest.preparing import Sources
from ingest.progress import read_progress
from ingest.retention import Retention
from ingest.salts import Salts
from ingest.site_facts import SiteFactsReader
from schemas.in_flight import InFlight
from schemas.versions import SiteVersions
from schemas.warehouse.client import Warehouse
from schemas.warehouse.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from deploy.settings import Settings
    from ingest.progress import Progress
    from schemas.completeness import Completeness

WAREHOUSE_HANDLES = 6


@dataclass(frozen=True, slots=True)
class Parts:
    """What a process with a warehouse holds. `number` is the log's number in the control plane."""

    base: Base
    number: int
    warehouse: Warehouse
    versions: SiteVersions
    consumer: Consumer
    retention: Retention

    async def read_completeness(self) -> Completeness:
        """How much of what was acknowledged is in the warehouse."""
        return await self.consumer.completeness()

    async def read_in_flight(self) -> Sequence[InFlight]:
        """Headers of what waits in the log, per partition, from the consumed position on.

        Asked again when the log let go of records past a position meanwhile: none may be missing.
        """
        while True:
            positions = await self.consumer.find_positions()
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
        stack.enter_context(holding(settings.data))
        base = await stack.enter_async_context(open_base(settings))
        warehouse = Warehouse(settings.warehouse, WAREHOUSE_HANDLES)
        stack.push_async_callback(warehouse.close)
        await migrate(warehouse)
        facts = SiteFactsReader(base.control)
        stack.callback(facts.close)
        geo = GeoWatch(settings.geo_path, base.clock)
        number = await number_of_log(base.control, base.log.identity, base.clock)
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
        )
        retention = Retention(warehouse, base.control, versions, base.clock, failpoint)
        yield Parts(base, number, warehouse, versions, Consumer(needed, failpoint=failpoint), retention)
