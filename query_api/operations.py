"""For whoever runs the server: whether it works (`/healthz`, `/readyz`, `/v1/status`) and its figures (`/metrics`)."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from query_api.deps import DEPS, HEALTH
from query_api.errors import BadRequestError, ForbiddenError
from query_api.handlers import NO_STORE, respond, to_text
from query_api.question import Answer, Problem

if TYPE_CHECKING:
    from query_api.question import Report, Row

STATUS_COLUMNS = ("status", "version", "timestamp")
LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP")
READY, NOT_READY = 200, 503


async def answer_status(request: web.Request, _report: Report) -> web.Response:
    """Whether the server runs well, in the shape of every answer; nothing of the inside."""
    if request.query:
        message = f"unknown parameter {next(iter(request.query))!r}; /v1/status takes none"
        raise BadRequestError.of([Problem(next(iter(request.query)), message)])
    deps = request.app[DEPS]
    health = await request.app[HEALTH].read()
    status = "ok" if health.is_well else "degraded"
    row: Row = {"status": status, "version": deps.version, "timestamp": to_text(deps.now())}
    return respond(request, "json", Answer(STATUS_COLUMNS, [row], {}))


async def answer_healthz(_request: web.Request) -> web.Response:
    """The process runs and answers: restart it when this fails."""
    return to_json({"status": "ok"}, READY)


async def answer_readyz(request: web.Request) -> web.Response:
    """Every part answered its ping within a second of now: send traffic elsewhere when this fails."""
    health = await request.app[HEALTH].read()
    status = "ok" if health.is_well else "degraded"
    return to_json({"status": status, "parts": dict(health.parts)}, READY if health.is_well else NOT_READY)


async def answer_metrics(request: web.Request) -> web.Response:
    """Prometheus' text, for the machine itself and the networks that were allowed; never through a proxy."""
    refuse_strangers(request)
    body = generate_latest(request.app[DEPS].registry)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST, **NO_STORE})


def refuse_strangers(request: web.Request) -> None:
    """Raise ForbiddenError unless the peer itself, with nobody behind it, is on this machine or allowed."""
    peer = ip_address(request.remote) if request.remote else None
    allowed = (*LOOPBACK, *request.app[DEPS].metrics_from)
    forwarded = any(name in request.headers for name in FORWARDED)
    if forwarded or (peer is not None and not any(peer in network for network in allowed)):
        message = "/metrics is for this machine: scrape it at 127.0.0.1, past the proxy"
        raise ForbiddenError(message)


def to_json(body: dict[str, object], status: int) -> web.Response:
    """A small JSON answer that nobody keeps."""
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json", headers=NO_STORE)
