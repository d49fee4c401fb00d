"""Resident memory of the whole product in one process under load and questions, and how it goes on (a soak)."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from tests.bench.counting import run_and_count
from tests.bench.latency import Probe, load

if TYPE_CHECKING:
    from tests.product import Product

QUESTIONS = ("stats", "pages", "referrers", "timeseries", "events", "geo", "devices")


def read_resident(pid: int) -> int:
    """Resident memory of a process in MiB, as the kernel says it."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) // 1024


async def ask(session: aiohttp.ClientSession, key: str, stop: asyncio.Event) -> None:
    """Ask what a dashboard asks, every two seconds."""
    while not stop.is_set():
        for question in QUESTIONS:
            url = f"/v1/{question}?period=30d&include_bots=true"
            async with session.get(url, headers={"Authorization": f"Bearer {key}"}) as response:
                if response.status != 200:
                    raise SystemExit(f"{question}: {response.status} {await response.text()}")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 2)


async def run(product: Product, site_key: str, key: str, options: argparse.Namespace) -> int:
    """Load and questions for the asked time, a line of memory every tenth of it; give how many were sent."""
    print(f"at start: {read_resident(product.pid)} MiB (goal: at most 600 MiB, and flat)")
    async with aiohttp.ClientSession(product.base) as session, asyncio.TaskGroup() as group:
        stop = asyncio.Event()
        loading = group.create_task(load(Probe(session, site_key, key), options.rate, stop))
        group.create_task(ask(session, key, stop))
        began = time.monotonic()
        for part in range(1, 11):
            await asyncio.sleep(max(0.0, began + options.seconds * part / 10 - time.monotonic()))
            print(f"after {time.monotonic() - began:.0f} s: {read_resident(product.pid)} MiB", flush=True)
        stop.set()
    return loading.result()


def main() -> None:
    """Run the soak, then count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--rate", type=int, default=2000)
    options = parser.parse_args()
    run_and_count(lambda product, site_key, key: asyncio.run(run(product, site_key, key, options)))


if __name__ == "__main__":
    main()
