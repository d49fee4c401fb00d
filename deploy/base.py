"""What every process holds: control plane, sites, log, metrics. Light: no warehouse and no arrays are loaded here."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR, CollectorRegistry
from sqlalchemy import text

from deploy.clock import read_clock
from ingest.log.open import open_log
from ingest.log.sqlite_room import Keeping
from ingest.sites import Sites
from schemas.control.connect import migrate_control, open_control

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from sqlalchemy.ext.asyncio import AsyncEngine

    from deploy.settings import Settings
    from ingest.collector import Collector
    from ingest.log.sqlite import SqliteLog


@dataclass(frozen=True, slots=True)
class Base:
    """Open parts; `collectors` are those that listen in this process."""

    settings: Settings
    clock: Callable[[], int]
    registry: CollectorRegistry
    control: AsyncEngine
    sites: Sites
    log: SqliteLog
    collectors: list[Collector] = field(default_factory=list)

    @property
    def pings(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """By name how to ask each part whether it works."""
        return {"log": self.log.ping, "control plane": self.ping_control}

    def untrusted_forwarder(self) -> str | None:
        """The private peer that forwards without being trusted, None while there was none."""
        return next((found for item in self.collectors if (found := item.untrusted_forwarder)), None)

    def now(self) -> datetime:
        """The clock as an aware datetime."""
        return datetime.fromtimestamp(self.clock() / 1000, UTC)

    async def ping_control(self) -> None:
        """Return if the control plane answers."""
        async with self.control.connect() as connection:
            await connection.execute(text("SELECT 1"))


@asynccontextmanager
async def open_base(settings: Settings) -> AsyncIterator[Base]:
    """Open and migrate; raise what the part says when one cannot be had, after closing those before it."""
    async with AsyncExitStack() as stack:
        control = open_control(settings.control)
        stack.push_async_callback(control.dispose)
        await migrate_control(control)
        sites = Sites(control)
        await sites.start()
        stack.push_async_callback(sites.stop)
        log = await open_log(settings.log, Keeping(settings.log_budget), read_clock)
        stack.push_async_callback(log.close)
        registry = CollectorRegistry()
        for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
            registry.register(collector)
        yield Base(settings, read_clock, registry, control, sites, log)
