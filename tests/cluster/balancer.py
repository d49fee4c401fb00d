"""`python -m tests.cluster.balancer --port P --to http://A --to http://B`: one address for several servers of a kind.

Requests go in turn to those that say `/readyz`; one that cannot be reached is passed over at once. Whoever sends is
told on in `X-Forwarded-For`. A request that a server may have seen is never sent to another: the client decides.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

from aiohttp import ClientConnectorError, ClientError, ClientSession, ClientTimeout, TCPConnector, web
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Sequence

LOOK_SECONDS = 0.5
PING = ClientTimeout(total=2.0)
ASK = ClientTimeout(total=None, connect=2.0, sock_read=120.0)
BODY_LIMIT = 64 * 2**20
BAD_GATEWAY, UNAVAILABLE = 502, 503
FORWARDED_FOR = "X-Forwarded-For"
# Those of RFC 9110, 7.6.1, and what the two sides count for themselves.
HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "upgrade"),
        *("transfer-encoding", "content-length", "host"),
    }
)


class Balancer:
    """Gives requests on to `targets`, addresses without a slash at the end."""

    def __init__(self, targets: Sequence[str], session: ClientSession) -> None:
        self._targets = targets
        self._session = session
        self._ready = set(targets)
        self._turns = count()

    async def look(self) -> None:
        """Ask again and again who is ready, until cancelled."""
        while True:
            await asyncio.gather(*(self._look_at(target) for target in self._targets))
            await asyncio.sleep(LOOK_SECONDS)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Give one request on, and its answer back as it comes."""
        body = await request.read()
        for target in self._order():
            try:
                return await self._ask(request, target, body)
            except ClientConnectorError:
                self._ready.discard(target)
            except (ClientError, TimeoutError) as error:
                return web.Response(status=BAD_GATEWAY, text=f"{target} broke off: {error}\n")
        return web.Response(status=UNAVAILABLE, headers={"Retry-After": "1"}, text="nobody is ready\n")

    async def _ask(self, request: web.Request, target: str, body: bytes) -> web.StreamResponse:
        """What this target says; raise ClientError, TimeoutError where it says nothing."""
        own = (FORWARDED_FOR, request.remote or "")
        asked = self._session.request(
            request.method,
            URL(target + request.raw_path, encoded=True),
            data=body or None,
            headers=[*((name, value) for name, value in request.headers.items() if is_passed_on(name)), own],
            allow_redirects=False,
        )
        async with asked as found:
            answer = web.StreamResponse(status=found.status, reason=found.reason)
            for name, value in found.headers.items():
                if is_passed_on(name) or name == "Content-Length":
                    answer.headers.add(name, value)
            await answer.prepare(request)
            try:
                async for piece in found.content.iter_any():
                    await answer.write(piece)
            except (ClientError, TimeoutError):  # half of the answer is with the client: it must see that it is half
                if request.transport is not None:
                    request.transport.abort()
            return answer

    def _order(self) -> Sequence[str]:
        """Those who are ready, each time another one first; all where nobody says that he is."""
        targets = [target for target in self._targets if target in self._ready] or list(self._targets)
        first = next(self._turns) % len(targets)
        return [*targets[first:], *targets[:first]]

    async def _look_at(self, target: str) -> None:
        try:
            async with self._session.get(f"{target}/readyz", timeout=PING) as found:
                well = found.status == web.HTTPOk.status_code
        except (ClientError, TimeoutError):
            well = False
        (self._ready.add if well else self._ready.discard)(target)


def is_passed_on(name: str) -> bool:
    """Whether a header is for whoever is behind."""
    return name.lower() not in HOP_BY_HOP


async def serve(port: int, targets: Sequence[str]) -> None:
    """Balance until a signal."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    connector = TCPConnector(limit=0)
    async with ClientSession(connector=connector, auto_decompress=False, timeout=ASK) as session:
        balancer = Balancer(targets, session)
        looking = asyncio.create_task(balancer.look())
        app = web.Application(client_max_size=BODY_LIMIT)
        app.router.add_route("*", "/{path:.*}", balancer.answer)
        runner = web.AppRunner(app, access_log=None, auto_decompress=False)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await stop.wait()
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
        await runner.cleanup()


def main() -> None:
    """Read the arguments and balance."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.balancer", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--to", action="append", required=True, help="address of one server")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.port, arguments.to))


if __name__ == "__main__":
    main()
