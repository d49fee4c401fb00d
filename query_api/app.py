"""The web application of the query API: routes from the table of endpoints, one middleware, and what lives with it."""

from __future__ import annotations

import asyncio
import functools
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from aiohttp import web

from query_api.auth import KeyRing
from query_api.cache import AnswerCache
from query_api.deps import ADMISSION, CACHE, DEPS, HEALTH, HUB, LIMITS, RING
from query_api.docs_page import add_docs
from query_api.endpoints import ENDPOINTS
from query_api.errors import MethodNotAllowedError, NotFoundError, add_request_id, translate_errors
from query_api.guard import add_quota, admit, identify, identify_listener
from query_api.health import HealthChecks
from query_api.limits import Admission, RequestLimits
from query_api.openapi import DOCUMENT
from query_api.openapi_collecting import COLLECTING
from query_api.operations import answer_healthz, answer_metrics, answer_readyz
from query_api.realtime import RealtimeHub
from query_api.stream import ask_realtime, recheck
from schemas.control.changes import ControlChanges

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from query_api.deps import Deps
    from query_api.endpoints import Endpoint
    from query_api.limits import Lane

WAITING = 100  # questions that may wait for a place in the warehouse
STOPPING = "The server stops: connect again in a moment"


def build_app(deps: Deps) -> web.Application:
    """Make the application; it opens what it needs on start-up and closes it on clean-up."""
    app = web.Application(middlewares=[translate_errors])
    app[DEPS] = deps
    app[LIMITS] = RequestLimits(deps.limits_url)
    app[ADMISSION] = Admission(deps.at_once, WAITING)
    app[CACHE] = AnswerCache(deps.versions)
    app[HUB] = RealtimeHub(functools.partial(ask_realtime, app), deps.clock)
    app[HEALTH] = HealthChecks(deps.pings, deps.clock)
    app.cleanup_ctx.extend((hold_limits, hold_ring, hold_hub))
    app.on_shutdown.append(end_streams)
    app.on_response_prepare.extend((add_request_id, add_quota))
    add_routes(app)
    return app


def add_routes(app: web.Application) -> None:
    """Every endpoint of the table, and what is no part of the API."""
    for endpoint in ENDPOINTS:
        app.router.add_route(endpoint.method, endpoint.path, functools.partial(run_endpoint, endpoint))
    for path in COLLECTING:
        app.router.add_route("*", path, refuse_collecting)
    for path in ("/v1/openapi.json", "/api/openapi.json"):
        app.router.add_get(path, answer_openapi)
    app.router.add_get("/healthz", answer_healthz)
    app.router.add_get("/readyz", answer_readyz)
    app.router.add_get("/metrics", answer_metrics)
    add_docs(app)


async def run_endpoint(endpoint: Endpoint, request: web.Request) -> web.StreamResponse:
    """Find out who asks, whether they may and whether there is room; then run the endpoint's handler."""
    if endpoint.opens == "anybody":
        return await endpoint.handle(request, endpoint.report)
    caller = await (identify_listener if endpoint.opens == "token" else identify)(request)
    await admit(request, caller)
    lane: Lane = "stream" if endpoint.shape == "stream" else "query"
    async with request.app[LIMITS].at_once(lane, caller.key.id, caller.plan):
        return await endpoint.handle(request, endpoint.report)


async def refuse_collecting(request: web.Request) -> web.StreamResponse:
    """What a collector in front of this application did not take: another method, or there is no collector here."""
    asked = {endpoint.method for endpoint in ENDPOINTS if endpoint.path == request.path}
    collecting = {method.upper() for method in COLLECTING[request.path]}
    if request.method not in collecting:
        allowed = ", ".join(sorted(asked | collecting | {"OPTIONS"}))
        message = f"{request.method} is not for {request.path}: {allowed} are"
        raise MethodNotAllowedError(message, headers={"Allow": allowed})
    message = f"This server only answers questions: send {request.method} {request.path} to one that collects"
    if asked:
        raise MethodNotAllowedError(message, headers={"Allow": ", ".join(sorted(asked))})
    raise NotFoundError(message)


async def answer_openapi(_request: web.Request) -> web.Response:
    """The OpenAPI document."""
    return web.Response(body=DOCUMENT, content_type="application/json", headers={"Cache-Control": "no-cache"})


async def hold_limits(app: web.Application) -> AsyncIterator[None]:
    """Where requests are counted."""
    yield
    await app[LIMITS].close()


async def hold_ring(app: web.Application) -> AsyncIterator[None]:
    """The keys, and the task that writes down when they were used."""
    deps = app[DEPS]
    changes = ControlChanges(deps.control)
    app[RING] = KeyRing(deps.control, changes, deps.clock)
    async with running(app[RING].write_uses()):
        yield
    await app[RING].stop()
    changes.close()


async def hold_hub(app: web.Application) -> AsyncIterator[None]:
    """The streams: woken when rows land, ended when their key is."""
    hub, versions = app[HUB], app[DEPS].versions
    if versions is not None:
        versions.subscribe(hub.wake)
    async with running(hub.recheck_keys(functools.partial(recheck, app))):
        yield


async def end_streams(app: web.Application) -> None:
    """Let listeners go, so that the server can stop."""
    app[HUB].end_all(STOPPING)


@asynccontextmanager
async def running(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """A task that lives as long as the block; what it raised is raised at the end."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
