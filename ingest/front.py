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
from aiohttp.http_parser import RawRequestMessage

from ingest.answers import Sent, TurnedAwayError
from ingest.decode import MAX_BODY
from ingest.incoming import Incoming

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import StreamReader
    from aiohttp.abc import AbstractStreamWriter

    from ingest.answers import Answer
    from ingest.collector import Collector

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
EVENTS = "/v1/events"

log = structlog.get_logger()


class SlowParserError(RuntimeError):
    """aiohttp runs without its C parser, at a third of the speed."""


class Routed(web.BaseRequest):
    """A request whose handler is known from its first line."""

    route: Handler


class Front(web.Server):
    """The server: what `collector` does not take goes to `fallback`, whose requests `make_request` makes."""

    def __init__(self, collector: Collector, fallback: Handler, make_request: Factory) -> None:
        """Must be made in the running loop; raise SlowParserError."""
        if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
            message = "aiohttp's C parser is not there: install a wheel of aiohttp for this platform"
            raise SlowParserError(message)
        super().__init__(self._dispatch, request_factory=self._make)
        self.collector = collector
        self._routes = collector.routes
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


def front_alone(collector: Collector) -> Front:
    """Make the door of a process that only collects: anything else is 404."""

    async def say_nothing_here(request: web.BaseRequest) -> web.StreamResponse:
        turned = TurnedAwayError(404, f"There is nothing at {request.path[:200]}.")
        return Sent(collector.answers.turned_away(turned))

    return Front(collector, say_nothing_here, make_plain_request)


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
    """One connection: aiohttp's, with our bounds, our answers to what is not HTTP, and a short way for events.

    aiohttp makes a task for each request and wakes two coroutines. A POST of events that has come whole, alone, on an
    idle connection needs none of it: the collector is called at once and writes the answer when the block is durable.
    Meanwhile `start`, aiohttp's loop over the requests of a connection, stays parked, so that what follows on the same
    connection waits its turn. Every other request goes aiohttp's way.
    """

    __slots__ = ("_collector", "_gone", "_parked")

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
        self._collector = front.collector
        self._gone: asyncio.Future[None] | None = None
        self._parked: asyncio.Future[None] | None = None

    def data_received(self, data: bytes) -> None:
        """Parse, and take the short way where it is open."""
        waiter = self._waiter
        if waiter is None or waiter.done():  # busy
            super().data_received(data)
            return
        self._waiter = None  # so that nobody is woken yet
        super().data_received(data)
        messages = self._messages
        if len(messages) == 1 and not self._paused:
            message, payload = messages[0]
            # Not an error of the parser, that is.
            if isinstance(message, RawRequestMessage) and is_whole_post(message, payload):
                messages.clear()
                self._parked = waiter
                self._take(message, payload)
                return
        self._waiter = waiter
        if messages:
            waiter.set_result(None)

    def _take(self, message: RawRequestMessage, payload: StreamReader) -> None:
        if self._parser is not None:
            self._parser.message_consumed()
        self._request_in_progress = True  # a stop waits for the answer
        peer = self.peername
        address = peer[0] if isinstance(peer, tuple) else ""
        self._collector.collect(Incoming(message.headers, address, payload.read_nowait()), self._reply)

    def _reply(self, answer: Answer) -> None:
        """Write the answer of the short way and let `start` have the connection back."""
        waiter, self._parked = self._parked, None
        self._request_in_progress = False
        if self.transport is not None:
            self.transport.write(answer.content)
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)
        if waiter is None or waiter.done():
            return
        if self.transport is None or self._close or self._force_close:
            waiter.cancel()
            return
        self._waiter = waiter
        if self._messages:
            waiter.set_result(None)
            return
        self._next_keepalive_close_time = self._loop.time() + KEEPALIVE_SECONDS
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(self._next_keepalive_close_time, self._process_keepalive)

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
        return LastWord(self._collector.turn_away(turned), self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The client is gone."""
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        super().connection_lost(exc)

    async def linger(self) -> None:
        """Read on and throw away until the client has gone, for a while.

        A connection that is closed with bytes unread is reset, and the client never sees what it was told.
        """
        self.close()  # nothing is parsed any more
        if self.transport is not None:
            self.transport.write_eof()
            self._gone = self._loop.create_future()
            await asyncio.wait([self._gone], timeout=LINGER_SECONDS)


class LastWord(Sent):
    """The answer after which a connection is over."""

    def __init__(self, answer: Answer, connection: Connection) -> None:
        super().__init__(answer)
        self._connection = connection

    async def write_eof(self, data: bytes = b"") -> None:
        """Give the client time to read it."""
        await super().write_eof(data)
        await self._connection.linger()


def is_whole_post(message: RawRequestMessage, payload: StreamReader) -> bool:
    """Whether this is a POST of events, all there, on a connection that stays open."""
    return (
        message.path == EVENTS
        and message.method == "POST"
        and payload.is_eof()
        and not message.should_close
        and payload.exception() is None
        and payload.total_bytes <= MAX_BODY
    )
