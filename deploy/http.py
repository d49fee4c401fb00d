"""The HTTP side of a process: the collector's door in front, the query application behind it, one port."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from ingest.collector import Collector, CollectorSettings
from ingest.collector_metrics import CollectorMetrics
from ingest.front import Front
from ingest.tracker import read_script
from query_api.app import build_app
from query_api.deps import Deps
from schemas.warehouse.client import Limits

if TYPE_CHECKING:
    from deploy.parts import Parts

DRAIN_SECONDS = 30.0
BACKLOG = 1024
log = structlog.get_logger()


async def serve_http(parts: Parts, stop: asyncio.Event, ready: asyncio.Event) -> None:
    """Listen until `stop`; then finish the requests that are under way and make what was taken durable."""
    settings = CollectorSettings(
        parts.settings.collect_limit,
        parts.settings.collect_address_limit,
        parts.settings.trusted_proxies,
        read_script(),
    )
    collector = Collector(parts.log, parts.sites, settings, parts.clock, CollectorMetrics(parts.registry))
    runner = web.AppRunner(build_app(to_deps(parts)), handle_signals=False, access_log=None)
    await runner.setup()
    application = runner.server
    assert application is not None  # noqa: S101 - it has been set up
    front = Front(collector.routes, collector.answers, application.request_handler, application.request_factory)
    host, _, port = parts.settings.listen.rpartition(":")
    server = await _listen(front, host.strip("[]"), int(port))
    ready.set()
    await stop.wait()
    server.close()
    log.info("waiting_for", part="requests under way")
    front.pre_shutdown()
    await runner.app.shutdown()
    await front.shutdown(DRAIN_SECONDS)
    log.info("waiting_for", part="events that are not durable yet")
    await collector.stop()
    await runner.cleanup()


async def _listen(front: Front, host: str, port: int) -> asyncio.Server:
    return await asyncio.get_running_loop().create_server(front, host, port, backlog=BACKLOG)


def to_deps(parts: Parts) -> Deps:
    """What the query application uses."""
    return Deps(
        warehouse=parts.warehouse,
        control=parts.control,
        clock=parts.clock,
        read_completeness=parts.read_completeness,
        read_in_flight=parts.read_in_flight,
        versions=parts.versions,
        pings={
            "log": parts.log.ping,
            "warehouse": parts.warehouse.ping,
            "control plane": parts.ping_control,
        },
        registry=parts.registry,
        limits=Limits(),
        version=version("pulse-analytics"),
        limits_url=parts.settings.limits_url,
    )
