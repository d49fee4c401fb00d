"""The HTTP side of a process: the collector's door in front, an application behind it, one port."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from deploy.listening import Door, bind
from ingest.collector import Collector, CollectorSettings
from ingest.collector_metrics import CollectorMetrics
from ingest.front import Front
from ingest.tracker import read_script

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence
    from socket import socket

    from deploy.base import Base

DRAIN_SECONDS = 30.0
log = structlog.get_logger()


def make_collector(base: Base) -> Collector:
    """The collector of this process; made in the running loop."""
    settings = CollectorSettings(
        base.settings.collect_limit, base.settings.collect_address_limit, base.settings.trusted_proxies, read_script()
    )
    collector = Collector(base.log, base.sites, settings, base.clock, CollectorMetrics(base.registry))
    base.collectors.append(collector)
    return collector


async def serve_http(
    base: Base, collector: Collector | None, app: web.Application, stop: asyncio.Event, ready: asyncio.Event
) -> None:
    """Listen until `stop`; then finish the requests that are under way and make what was taken durable.

    Raise CommandError where nobody can listen.
    """
    runner = web.AppRunner(app, handle_signals=False, access_log=None)
    await runner.setup()
    behind = runner.server
    if behind is None:
        message = "the application has no server after its set-up"
        raise RuntimeError(message)
    front = behind if collector is None else Front(collector, behind.request_handler, behind.request_factory)
    try:
        await listen(base.inherited or bind(base.settings.listen), front, app, stop, ready)
    finally:
        if collector is not None:
            log.info("waiting_for", part="events that are not durable yet")
            await collector.stop()
        await runner.cleanup()


async def listen(
    places: Sequence[socket], front: Front | web.Server, app: web.Application, stop: asyncio.Event, ready: asyncio.Event
) -> None:
    """Take connections until `stop`, then finish requests under way."""
    doors = [Door(one, front) for one in places]
    ready.set()
    try:
        await stop.wait()
    finally:
        for door in doors:
            await door.close()
        log.info("waiting_for", part="requests under way")
        front.pre_shutdown()
        await app.shutdown()
        await front.shutdown(DRAIN_SECONDS)
