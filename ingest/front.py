"""The door of the server: collecting goes straight to the collector, everything else to what lies behind.

One low-level aiohttp server on one port. A request for a collecting path never meets a router or a middleware; any
other is given to the fallback, usually an application's own handler and request factory: `request_handler` and
`request_factory` of the server of an AppRunner that has been set up.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from aiohttp import http_parser, web
from aiohttp.http_exceptions import LineTooLong

from ingest.answers import TurnedAwayError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp import StreamReader
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.http_parser import RawRequestMessage

    from ingest.answers import Answers

    Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
    Factory = Callable[
        [RawRequestMessage, StreamReader, web.RequestHandler, AbstractStreamWriter, asyncio.Task[None]],
        web.BaseRequest,
    ]

KEEPALIVE_SECONDS = (
    75.0  # longer than nginx keeps its side (60), so that a proxy does not meet a connection just closed
)
LINGER_SECONDS = 2.0
MAX_LINE = 16_384  # a pixel's query: url, referrer and title, percent-encoded
READ_BYTES = 64 * 1024
FAULT = 500

log = structlog.get_logger()


class SlowParserError(RuntimeError):
    """aiohttp runs without its C parser, at a third of the speed."""


class Routed(web.BaseRequest):
    """A request whose handler is known from its first line."""

    route: Handler


class Front(web.Server):
    """The server: `routes` are handlers by (method, path), `fallback` takes what is not among them.

    `make_request` makes the fallback's requests. Answers to what is not HTTP, and to faults, are made by `answers`.
    """

    def __init__(
        self, routes: Mapping[tuple[str, str], Handler], answers: Answers, fallback: Handler, make_request: Factory
    ) -> None:
        """Must be made in the running loop; raise SlowParserError."""
        if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
            message = "aiohttp's C parser is not there: install a wheel of aiohttp for this platform"
            raise SlowParserError(message)
        super().__init__(self._dispatch, request_factory=self._make)
        self.answers = answers
        self._routes = routes
        self._fallback = fallback
        self._make_fallback = make_request
        self._running = asyncio.get_running_loop()

    def __call__(self) -> web.RequestHandler:
        """Make the protocol of a new connection."""
        return Connection(self, self._running)

    def _make(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        route = self._routes.get((message.method, message.path.partition("?")[0]))
        if route is None:
            return self._make_fallback(message, payload, protocol, writer, task)
        request = Routed(message, payload, protocol, writer, task, self._running)
        request.route = route
        return request

    def _dispatch(self, request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        return request.route(request) if isinstance(request, Routed) else self._fallback(request)


def front_alone(routes: Mapping[tuple[str, str], Handler], answers: Answers) -> Front:
    """Make the door of a process that only collects: anything else is 404."""

    async def say_nothing_here(request: web.BaseRequest) -> web.StreamResponse:
        return answers.turned_away(TurnedAwayError(404, f"There is nothing at {request.path[:200]}."))

    return Front(routes, answers, say_nothing_here, make_plain_request)


def make_plain_request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    """Make a request that belongs to no application."""
    return web.BaseRequest(message, payload, protocol, writer, task, asyncio.get_running_loop())


class Connection(web.RequestHandler):
    """One connection: aiohttp's, with our bounds, and our answers to what is not HTTP."""

    __slots__ = ("_answers",)

    def __init__(self, front: Front, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            front,
            loop=loop,
            keepalive_timeout=KEEPALIVE_SECONDS,
            access_log=None,  # type: ignore[arg-type]  # None is none, says its code
            max_line_size=MAX_LINE,
            lingering_time=LINGER_SECONDS,
            read_bufsize=READ_BYTES,
            auto_decompress=False,
        )
        self._answers = front.answers

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer in our shape and close; nothing of the inside is shown, no client's address logged."""
        del message  # aiohttp's text repeats what came in
        if isinstance(exc, LineTooLong):
            turned = TurnedAwayError(431, "A header or the request line is too long.", ends=True)
        elif status < FAULT:
            turned = TurnedAwayError(400, "This is not a valid HTTP request.", ends=True)
        else:
            log.error("request_failed", path=request.path, exc_info=exc)
            turned = TurnedAwayError(500, "Something went wrong here.", ends=True)
        if request.writer.output_size > 0:
            error = "an answer has begun, there cannot be another"
            raise ConnectionError(error)
        return self._answers.turned_away(turned)
