"""Health and metrics of a process that answers no questions (`--role collector`, `--role consumer`)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson
import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from prometheus_client import CollectorRegistry

PING_SECONDS = 5.0
NOT_READY = 503
log = structlog.get_logger()


def make_health_app(pings: Mapping[str, Callable[[], Awaitable[None]]], registry: CollectorRegistry) -> web.Application:
    """`/healthz`: the process answers. `/readyz`: its parts do. `/metrics`: Prometheus' text, for this machine only."""

    async def answer_healthz(_request: web.Request) -> web.Response:
        return web.Response(body=b'{"status":"ok"}', content_type="application/json")

    async def answer_readyz(_request: web.Request) -> web.Response:
        parts = {name: "ok" if await is_well(name, ping) else "failing" for name, ping in pings.items()}
        well = "failing" not in parts.values()
        body = orjson.dumps({"status": "ok" if well else "degraded", "parts": parts})
        return web.Response(status=200 if well else NOT_READY, body=body, content_type="application/json")

    async def answer_metrics(request: web.Request) -> web.Response:
        if request.remote not in {"127.0.0.1", "::1"} or "X-Forwarded-For" in request.headers:
            raise web.HTTPForbidden(text="/metrics is for this machine only")
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/healthz", answer_healthz)
    app.router.add_get("/readyz", answer_readyz)
    app.router.add_get("/metrics", answer_metrics)
    return app


async def is_well(name: str, ping: Callable[[], Awaitable[None]]) -> bool:
    """Whether a part answers in time; the log says why not."""
    try:
        await asyncio.wait_for(ping(), PING_SECONDS)
    except Exception as error:  # noqa: BLE001 - a part may fail in any way: it is not well
        log.warning("part_not_well", part=name, reason=str(error) or type(error).__name__)
        return False
    return True
