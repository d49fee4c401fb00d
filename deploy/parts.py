"""Opens what the roles of this process need, in order, and closes it again in the opposite order."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from sqlalchemy import text

from deploy.clock import read_clock
from deploy.lock import holding
from ingest.consumer import Consumer
from ingest.consumer import Parts as ConsumerParts
from ingest.consumer_metrics import ConsumerMetrics
from ingest.disk import DiskBudget
from ingest.enrich.geo import GeoWatch
from ingest.enrich.pipeline import Enricher, EnrichMetrics
from ingest.log.open import open_log
from ingest.log.sqlite_room import Keeping
from ingest.logs import number_of_log
from ingest.preparing import Sources
from ingest.salts import Salts
from ingest.site_facts import SiteFactsReader
from ingest.sites import Sites
from schemas.control.connect import migrate_control, open_control
from schemas.in_flight import InFlight
from schemas.versions import SiteVersions
from schemas.warehouse.client import Warehouse, WarehouseError
from schemas.warehouse.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from deploy.settings import Settings
    from ingest.log import EventLog
    from schemas.completeness import Completeness

WAREHOUSE_HANDLES = 6


@dataclass(frozen=True, slots=True)
class Parts:
    """What a process of all roles holds. `number` is the log's number in the control plane."""

    settings: Settings
    clock: Callable[[], int]
    registry: CollectorRegistry
    control: AsyncEngine
    sites: Sites
    log: EventLog
    number: int
    warehouse: Warehouse
    versions: SiteVersions
    geo: GeoWatch
    consumer: Consumer

    def now(self) -> datetime:
        """The clock as an aware datetime."""
        return datetime.fromtimestamp(self.clock() / 1000, UTC)

    async def read_completeness(self) -> Completeness:
        """How much of what was acknowledged is in the warehouse."""
        return await self.consumer.completeness()

    async def read_in_flight(self) -> Sequence[InFlight]:
        """Headers of what waits in the log, per partition, from the consumed position on."""
        positions = self.consumer.consumed
        if not positions:
            message = "the consumer has not found out yet where to go on"
            raise WarehouseError(message)
        return [await self._read_partition(*place) for place in enumerate(positions)]

    async def ping_control(self) -> None:
        """Return if the control plane answers."""
        async with self.control.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def _read_partition(self, partition: int, position: int) -> InFlight:
        headers = await self.log.read_headers(partition, position)
        return InFlight(self.number, partition, position, tuple(header for _, header in headers))


@asynccontextmanager
async def open_parts(settings: Settings, failpoint: Callable[[str], None]) -> AsyncIterator[Parts]:
    """Open everything; raise what the part says when one cannot be had, after closing those before it."""
    async with AsyncExitStack() as stack:
        stack.enter_context(holding(settings.data))
        control = open_control(settings.control)
        stack.push_async_callback(control.dispose)
        await migrate_control(control)
        sites = Sites(control)
        await sites.start()
        stack.push_async_callback(sites.stop)
        log = await open_log(settings.log, Keeping(settings.log_budget), read_clock)
        stack.push_async_callback(log.close)
        warehouse = Warehouse(settings.warehouse, WAREHOUSE_HANDLES)
        stack.push_async_callback(warehouse.close)
        await migrate(warehouse)
        facts = SiteFactsReader(control)
        stack.callback(facts.close)
        registry = CollectorRegistry()
        geo = GeoWatch(to_geo_path(settings), read_clock)
        number = await number_of_log(control, log.identity, read_clock)
        versions = SiteVersions()
        consumer = Consumer(
            ConsumerParts(
                log,
                number,
                warehouse,
                Sources(facts, Salts(control, read_clock), geo.current, read_clock),
                Enricher(EnrichMetrics(registry)),
                DiskBudget(warehouse, settings.data, settings.warehouse_budget, read_clock),
                versions,
                ConsumerMetrics(registry),
            ),
            failpoint=failpoint,
        )
        yield Parts(settings, read_clock, registry, control, sites, log, number, warehouse, versions, geo, consumer)


def to_geo_path(settings: Settings) -> Path | None:
    """Where places come from; None is switched off."""
    if settings.geo == "off":
        return None
    return Path(settings.geo) if settings.geo else settings.data / "geo"
