"""Health and metrics of a process that answers no questions (`--role collector`, `--role consumer`)."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TYPE_CHECKING, TypeAlias

import orjson
import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from prometheus_client import CollectorRegistry

Network: TypeAlias = IPv4Network | IPv6Network
Ping: TypeAlias = "Callable[[], Awaitable[str | None]]"  # returns what the part waits for, if it does
ReadMetrics: TypeAlias = "Callable[[], Awaitable[bytes]]"
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP")
PING_SECONDS = 5.0
FAILING = "failing"
NOT_READY = 503
log = structlog.get_logger()


def make_health_app(
    pings: Mapping[str, Ping],
    registry: CollectorRegistry,
    metrics_from: Sequence[Network] = (),
    read_metrics: ReadMetrics | None = None,
) -> web.Application:
    """`/healthz`: the process answers. `/readyz`: its parts do. `/metrics`: for this machine and those networks.

    `read_metrics` gives the figures of more than this process, in Prometheus' text.
    """

    async def answer_healthz(_request: web.Request) -> web.Response:
        return web.Response(body=b'{"status":"ok"}', content_type="application/json")

    async def answer_readyz(_request: web.Request) -> web.Response:
        answers = await asyncio.gather(*(ask(*named) for named in pings.items()))
        parts = dict(zip(pings, answers, strict=True))
        well = FAILING not in answers
        body = orjson.dumps({"status": "ok" if well else "degraded", "parts": parts})
        return web.Response(status=200 if well else NOT_READY, body=body, content_type="application/json")

    async def answer_metrics(request: web.Request) -> web.Response:
        if any(name in request.headers for name in FORWARDED) or not is_near(request.remote, metrics_from):
            raise web.HTTPForbidden(text="/metrics is for this machine: PULSE_METRICS_FROM names others")
        body = generate_latest(registry) if read_metrics is None else await read_metrics()
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/healthz", answer_healthz)
    app.router.add_get("/readyz", answer_readyz)
    app.router.add_get("/metrics", answer_metrics)
    return app


def is_near(peer: str | None, networks: Sequence[Network]) -> bool:
    """Whether the peer is this machine or in one of the networks."""
    address = ip_address(peer) if peer else None
    return address is not None and (address.is_loopback or any(address in network for network in networks))


async def ask(name: str, ping: Ping) -> str:
    """`ok` or what the part waits for, if it answers in time; else `failing`, and the log says why."""
    try:
        return await asyncio.wait_for(ping(), PING_SECONDS) or "ok"
    except Exception as error:  # noqa: BLE001 - a part may fail in any way: it is not well
        log.warning("part_not_well", part=name, reason=str(error) or type(error).__name__)
        return FAILING
