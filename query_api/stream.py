"""The stream of `/v1/realtime/stream`: Server-Sent Events to one listener, who is dropped when it reads too slowly."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from query_api.auth import refuse_scope
from query_api.deps import ADMISSION, CALLER, DEPS, HUB, RING
from query_api.errors import ForbiddenError
from query_api.guard import TOKEN, parse
from query_api.handlers import to_completeness
from query_api.question import Range
from query_api.realtime import Listener, State, read_next_change, to_state
from query_api.reports import answer

if TYPE_CHECKING:
    from query_api.question import Question, Report

HEARTBEAT = 15.0
SLOW = 5.0  # seconds that a listener may take to read what was sent
RETRY = b"retry: 2000\n\n"  # milliseconds until a browser connects again
BEAT = b": heartbeat\n\n"
LAST_ID = "last_event_id"
LAST_ID_HEADER = "Last-Event-ID"
LONGEST_ID = 64
OWN = frozenset({TOKEN, LAST_ID})
EPOCH = datetime.fromtimestamp(0, UTC)
HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would keep the messages back
    "X-Content-Type-Options": "nosniff",
}
log = structlog.get_logger()


async def stream_realtime(request: web.Request, report: Report) -> web.StreamResponse:
    """Send the state, then each new one, until somebody goes."""
    question = parse_stream(request, report)
    last_id = request.query.get(LAST_ID, request.headers.get(LAST_ID_HEADER, ""))[:LONGEST_ID]
    listener = Listener(request[CALLER].key.id, question, last_id)
    response = web.StreamResponse(headers=HEADERS)
    with request.app[HUB].listen(listener):
        await response.prepare(request)
        try:
            await send(response, RETRY)
            await send_states(response, listener)
        except TimeoutError:
            drop(request)
        except ConnectionError as error:  # it went away by itself, which is how streams end
            log.debug("listener_left", problem=type(error).__name__)
    return response


async def send_states(response: web.StreamResponse, listener: Listener) -> None:
    """Send what the listener hears, and a heartbeat when it hears nothing."""
    while not listener.ended:
        message = await listener.wait(HEARTBEAT)
        await send(response, BEAT if message is None else message.to_bytes())
    await send(response, f"event: end\ndata: {listener.ended}\n\n".encode())


async def send(response: web.StreamResponse, data: bytes) -> None:
    """Write; TimeoutError when the listener does not read. Nothing more is kept for it than its socket holds."""
    async with asyncio.timeout(SLOW):
        await response.write(data)


def drop(request: web.Request) -> None:
    """Close the connection without waiting for what it has not read."""
    if request.transport is not None:
        request.transport.abort()


def parse_stream(request: web.Request, report: Report) -> Question:
    """The question without its instant, so that everybody who asks the same shares one channel."""
    query = [(name, value) for name, value in request.query.items() if name not in OWN]
    return replace(parse(request, report, query), range=Range(EPOCH, EPOCH), asked="")


async def ask_realtime(app: web.Application, question: Question) -> State:
    """What a channel asks."""
    deps = app[DEPS]
    now = deps.now()
    completeness = await deps.read_completeness()
    sites = [site.id for site in question.sites]
    async with app[ADMISSION].enter():
        answered = await answer(question, deps.warehouse, now, deps.limits)
        next_change = await read_next_change(deps.warehouse, sites, now, deps.limits)
    meta = {**answered.meta, "completeness": to_completeness(completeness)}
    return to_state({"data": answered.rows, "meta": meta}, round(now.timestamp() * 1000), next_change)


async def recheck(app: web.Application, listener: Listener) -> None:
    """Raise ApiError when the listener's key, its plan or its sites allow the stream no more."""
    caller = await app[RING].find_by_id(listener.key_id)
    refuse_scope(caller, "read")
    if not {site.id for site in listener.question.sites} <= {site.id for site in caller.sites}:
        message = "A site of this stream was deleted"
        raise ForbiddenError(message)
