"""From an event sent to the event counted in /v1/stats: on a quiet server, and under a steady load."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import math
import statistics
import time
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import aiohttp
import orjson

from tests.bench.counting import run_and_count

if TYPE_CHECKING:
    from tests.product import Product

FIRST_ADDRESS, VISITORS = IPv4Address("100.64.0.0"), 20_000
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0"
ASK_SECONDS = 0.005


class Probe:
    """One site to send to and to ask about, by its own page name."""

    def __init__(self, session: aiohttp.ClientSession, site_key: str, key: str) -> None:
        self._session = session
        self._headers = {"X-Site-Key": site_key, "Content-Type": "application/json", "User-Agent": AGENT}
        self._visitors = itertools.count()
        self._key = {"Authorization": f"Bearer {key}"}

    async def send(self, paths: list[str]) -> None:
        """Send the page views of one of many visitors; return when they are acknowledged."""
        body = orjson.dumps([{"url": f"https://bench.example{path}"} for path in paths])
        address = str(FIRST_ADDRESS + next(self._visitors) % VISITORS)
        headers = {**self._headers, "X-Forwarded-For": address}
        async with self._session.post("/v1/events", data=body, headers=headers) as response:
            if response.status != 202:
                raise SystemExit(f"not taken: {response.status} {await response.text()}")

    async def measure(self, path: str) -> float:
        """Seconds from sending one page view to seeing it in /v1/stats."""
        began = time.perf_counter()
        await self.send([path])
        url = f"/v1/stats?period=today&filters=pathname=={path}"
        while True:
            async with self._session.get(url, headers=self._key) as response:
                answer = orjson.loads(await response.read())
            if response.status != 200:
                raise SystemExit(f"no answer: {response.status} {answer}")
            if answer["data"][0]["pageviews"]:
                return time.perf_counter() - began
            await asyncio.sleep(ASK_SECONDS)


async def load(probe: Probe, rate: int, stop: asyncio.Event) -> int:
    """Send `rate` page views a second in requests of 20 until told to stop; give how many."""
    sent = 0
    began = time.perf_counter()
    while not stop.is_set():
        await probe.send([f"/load-{number % 500}" for number in range(20)])
        sent += 20
        await asyncio.sleep(max(0.0, began + sent / rate - time.perf_counter()))
    return sent


def show(name: str, seconds: list[float], goal: float) -> None:
    """One line of figures."""
    ranked = sorted(seconds)
    p99 = ranked[math.ceil(len(ranked) * 0.99) - 1]
    print(f"{name}: median {statistics.median(ranked) * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms (goal p99 {goal} s)")


async def run(product: Product, site_key: str, key: str, rounds: int) -> int:
    """Both measurements; give how many page views were sent."""
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(product.base, timeout=timeout) as session:
        probe = Probe(session, site_key, key)
        show("quiet", [await probe.measure(f"/quiet-{number}") for number in range(rounds)], 0.3)
        stop = asyncio.Event()
        background = asyncio.create_task(load(probe, 5000, stop))
        show("at 5,000 events/s", [await probe.measure(f"/busy-{number}") for number in range(rounds)], 1.0)
        stop.set()
        return 2 * rounds + await background


def main() -> None:
    """Measure, then count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    rounds = parser.parse_args().rounds
    run_and_count(lambda product, site_key, key: asyncio.run(run(product, site_key, key, rounds)))


if __name__ == "__main__":
    main()
