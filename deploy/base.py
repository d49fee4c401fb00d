"""What every process holds: control plane, sites, log, metrics. Light: no warehouse and no arrays are loaded here."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR, CollectorRegistry
from sqlalchemy import text

from deploy.clock import read_clock
from deploy.terminal import SettingError
from deploy.urls import telling_of_log
from ingest.log.open import open_log
from ingest.log.sqlite_room import Keeping
from ingest.sites import Sites
from schemas.control.connect import migrate_control, open_control
from schemas.control.errors import ControlUnusableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from socket import socket

    from sqlalchemy.ext.asyncio import AsyncEngine

    from deploy.settings import Settings
    from ingest.collector import Collector
    from ingest.log import EventLog


@dataclass(frozen=True, slots=True)
class Base:
    """Open parts; `collectors` are those that listen in this process.

    `inherited` are the listening sockets that a parent gave; without any the process makes its own.
    """

    settings: Settings
    clock: Callable[[], int]
    registry: CollectorRegistry
    control: AsyncEngine
    sites: Sites
    log: EventLog
    collectors: list[Collector] = field(default_factory=list)
    inherited: Sequence[socket] = ()

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
async def open_migrated_control(settings: Settings) -> AsyncIterator[AsyncEngine]:
    """The control plane, up to date; raise SettingError when the setting names none that can be used."""
    try:
        control = open_control(settings.control)
        await migrate_control(control)
    except ControlUnusableError as error:
        raise SettingError(str(error)) from error
    try:
        yield control
    finally:
        await control.dispose()


async def open_settings_log(settings: Settings) -> EventLog:
    """The event log; raise SettingError when the setting names a server or topic that cannot be used."""
    keeping = Keeping(settings.log_budget)
    with telling_of_log(settings):
        return await open_log(settings.log, keeping, read_clock)


@asynccontextmanager
async def open_base(settings: Settings) -> AsyncIterator[Base]:
    """Open and migrate; raise what the part says when one cannot be had, after closing those before it."""
    async with AsyncExitStack() as stack:
        control = await stack.enter_async_context(open_migrated_control(settings))
        sites = Sites(control)
        await sites.start()
        stack.push_async_callback(sites.stop)
        log = await open_settings_log(settings)
        stack.push_async_callback(log.close)
        registry = CollectorRegistry()
        for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
            registry.register(collector)
        yield Base(settings, read_clock, registry, control, sites, log)
