"""Sends one event a request at a steady rate and tells how late the answers come.

Open loop: each request has its time, and its latency counts from that time, whether or not a connection was free.
"""

from __future__ import annotations

import asyncio
import statistics
from collections import deque

CONNECTIONS = 128
TICK = 0.002
HEAD = (
    "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nUser-Agent: Agent/1\r\nContent-Length: "
)


class Pacer:
    """Requests that are due, connections that are free, and the latencies so far (seconds)."""

    def __init__(self, event: str, whole: int) -> None:
        self.whole = whole
        self.done = asyncio.Event()
        self.latencies: list[float] = []
        self.due: deque[float] = deque()
        self.free: deque[Sender] = deque()
        self._event = event
        self._number = 0

    def send(self) -> None:
        """Send as much of what is due as there are free connections."""
        while self.due and self.free:
            self._number += 1
            body = self._event % self._number
            self.free.popleft().send(self.due.popleft(), f"{HEAD}{len(body)}\r\n\r\n{body}".encode())


class Sender(asyncio.Protocol):
    """One connection with one request at a time."""

    def __init__(self, pacer: Pacer) -> None:
        self._pacer = pacer
        self._transport: asyncio.Transport | None = None
        self._since = 0.0
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be free."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._pacer.free.append(self)

    def send(self, since: float, request: bytes) -> None:
        """Send a request that was due at `since`."""
        assert self._transport is not None
        self._since = since
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """An answer comes in one piece."""
        if not data.startswith(b"HTTP/1.1 202"):
            raise SystemExit(data.decode())
        self._pacer.latencies.append(self._loop.time() - self._since)
        self._pacer.free.append(self)
        self._pacer.send()
        if len(self._pacer.latencies) == self._pacer.whole:
            self._pacer.done.set()


async def measure_latency(port: int, event: str, rate: int, seconds: float) -> tuple[int, float]:
    """Give how many were acknowledged, and the 99th percentile in milliseconds."""
    loop = asyncio.get_running_loop()
    pacer = Pacer(event, int(rate * seconds))
    made = [await loop.create_connection(lambda: Sender(pacer), "127.0.0.1", port) for _ in range(CONNECTIONS)]
    began = loop.time()
    sent, whole = 0, pacer.whole
    while sent < whole:
        until = min(whole, int((loop.time() - began) * rate))
        pacer.due.extend(began + number / rate for number in range(sent, until))
        sent = until
        pacer.send()
        await asyncio.sleep(TICK)
    await asyncio.wait_for(pacer.done.wait(), 30)
    for transport, _ in made:
        transport.close()
    return whole, statistics.quantiles(pacer.latencies, n=100)[98] * 1000
