"""The collector beside a bare aiohttp handler that answers 202 unread: one event a request, batches, latency at half.

Both servers run in processes of their own and take turns under the same `wrk`; ratios are medians over rounds. At the
end every acknowledged event is counted in the log.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import uvloop
from aiohttp import web
from prometheus_client import CollectorRegistry

from deploy.listening import open_doors
from ingest.collector import Collector, CollectorSettings
from ingest.collector_metrics import CollectorMetrics
from ingest.front import front_alone
from ingest.log.open import open_log
from ingest.log.sqlite_room import Keeping
from ingest.sites import Sites
from schemas.control.connect import migrate_control, open_control
from tests.bench.pacing import measure_latency
from tests.ingest.collecting import KEY, add_project, add_site
from tests.servers.process import read_cpu

if TYPE_CHECKING:
    from collections.abc import Sequence

BATCH = 20
# A number goes in for the event id.
EVENT = (
    f'{{"site_key":"{KEY}","name":"pageview","url":"https://example.org/blog/a-post?utm_source=news","referrer":'
    '"https://news.ycombinator.com/","title":"Hello world","event_id":"01932c07-209e-7c3b-8f1a-%012d",'
    '"screen_width":1440,"language":"en-GB"}'
)
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.%d.0 Safari/537.36"
VISITORS = 1000  # as many browsers; a visitor is of one partition, and a request of one visitor
SCRIPT = """
local number = 0
local function event()
  number = number + 1
  return string.format('{event}', number)
end
request = function()
  local body = {body}
  return "POST /v1/events HTTP/1.1\\r\\nHost: x\\r\\nContent-Type: application/json\\r\\nUser-Agent: "
    .. string.format('{agent}', number % {visitors}) .. "\\r\\nContent-Length: " .. #body .. "\\r\\n\\r\\n" .. body
end
"""
BATCH_BODY = (
    "(function() local e = {{}} for i = 1, {count} do e[i] = event() end "
    "return '[' .. table.concat(e, ',') .. ']' end)()"
)


def read_clock() -> int:
    """Epoch milliseconds."""
    return time.time_ns() // 1_000_000


async def say_202(request: web.BaseRequest) -> web.Response:
    """The bare handler."""
    del request
    return web.Response(status=202)


async def serve(kind: str, folder: Path, port: int, log_url: str) -> None:
    """Run one server until it is told to stop; both take connections our way: with uvloop's some wait for seconds."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        if kind == "bare":
            server = web.Server(say_202, access_log=None)
        else:
            server = front_alone(await open_collector(folder, log_url, stack))
        stack.push_async_callback(server.shutdown)
        for door in open_doors(f"127.0.0.1:{port}", server):
            stack.push_async_callback(door.close)
        gc.freeze()  # as a started product has done (deploy/lean.py)
        await stop.wait()


async def open_collector(folder: Path, log_url: str, stack: contextlib.AsyncExitStack) -> Collector:
    """The real one: control plane, site view, log."""
    control = open_control(f"sqlite:///{folder}/control.db")
    stack.push_async_callback(control.dispose)
    sites = Sites(control)
    await sites.start()
    stack.push_async_callback(sites.stop)
    log = await open_log(log_url or to_log_url(folder), Keeping(), read_clock)
    stack.push_async_callback(log.close)
    settings = CollectorSettings(per_address=0)
    collector = Collector(log, sites, settings, read_clock, CollectorMetrics(CollectorRegistry()))
    stack.push_async_callback(collector.stop)
    return collector


def to_log_url(folder: Path) -> str:
    """The embedded log of a folder."""
    return f"sqlite:///{folder}/log.db"


async def make_control(folder: Path) -> None:
    """A control plane with one site."""
    control = open_control(f"sqlite:///{folder}/control.db")
    await migrate_control(control)
    await add_project(control)
    await add_site(control, KEY)
    await control.dispose()


@dataclass(slots=True)
class Server:
    """A process that serves."""

    kind: str
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    log_url: str = ""

    def __enter__(self) -> Self:
        arguments = [sys.executable, "-m", "tests.bench.collector", "--serve", self.kind, "--port", str(self.port)]
        self.process = subprocess.Popen([*arguments, "--folder", str(self.folder), "--log", self.log_url])  # noqa: S603 - our own program
        asyncio.run(wait_until_open(self.port))
        return self

    def __exit__(self, *exc: object) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(30)

    def read_cpu(self) -> float:
        """Seconds of processor time so far."""
        assert self.process is not None
        return read_cpu(self.process.pid)

    def read_memory(self) -> int:
        """Resident megabytes at the highest."""
        assert self.process is not None
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())
        return int(found[1]) // 1024 if found else 0


async def wait_until_open(port: int) -> None:
    """Return when somebody listens."""
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


@dataclass(slots=True)
class Rounds:
    """What `wrk` found, round by round."""

    rates: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    requests: int = 0

    @property
    def rate(self) -> float:
        """Median requests a second."""
        return statistics.median(self.rates)


def run_wrk(server: Server, script: Path, connections: int, seconds: int) -> tuple[int, float, float, float]:
    """Requests, requests a second, p99 in ms, processor µs a request; raise SystemExit for any other answer."""
    before = server.read_cpu()
    url = f"http://127.0.0.1:{server.port}/v1/events"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "-s", str(script), "--latency", url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 - our own words
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(text)
    requests = int(re.findall(r"(\d+) requests in", text)[0])
    found = re.findall(r"99%\s+([\d.]+)(us|ms|s)", text)[0]
    p99 = float(found[0]) * {"us": 0.001, "ms": 1, "s": 1000}[found[1]]
    rate = float(re.findall(r"Requests/sec:\s+([\d.]+)", text)[0])
    return requests, rate, p99, (server.read_cpu() - before) / requests * 1e6


def measure(servers: Sequence[Server], script: Path, connections: int, options: argparse.Namespace) -> list[Rounds]:
    """Let the servers take turns."""
    results = [Rounds() for _ in servers]
    for _ in range(options.rounds):
        for server, result in zip(servers, results, strict=True):
            requests, rate, p99, cpu = run_wrk(server, script, connections, options.seconds)
            result.requests += requests
            result.rates.append(rate)
            result.p99.append(p99)
            result.cpu.append(cpu)
    return results


async def count_lines(log_url: str) -> int:
    """Lines in the log; its headers must say the same."""
    log = await open_log(log_url, Keeping(), read_clock)
    lines = received = 0
    for partition in range(log.partitions):
        position, end = 0, (await log.bounds(partition)).end
        for _, headers in await log.read_headers(partition, 0):
            received += sum(count.count for count in headers.counts if not count.reason)
        while position < end:
            records = await log.read(partition, position, 64 * 1024 * 1024)
            lines += sum(record.body.count(b"\n") for record in records)
            position = records[-1].position + 1
    await log.close()
    if lines != received:
        raise SystemExit(f"headers count {received} events, blocks hold {lines}")
    return lines


def compare(servers: Sequence[Server], script: Path, connections: int, options: argparse.Namespace) -> Rounds:
    """Print how ours stands beside the bare one; give ours."""
    base, ours = measure(servers, script, connections, options)
    ratios = [own / other for own, other in zip(ours.rates, base.rates, strict=True)]
    print(
        f"one event a request, {connections} connections: {ours.rate:,.0f} events/s, bare handler {base.rate:,.0f} "
        f"requests/s, ratio {statistics.median(ratios):.2f} (rounds {min(ratios):.2f} to {max(ratios):.2f}); "
        f"processor {statistics.median(ours.cpu):.1f} µs a request, bare {statistics.median(base.cpu):.1f}; "
        f"p99 {statistics.median(ours.p99):.1f} ms, bare {statistics.median(base.p99):.1f}"
    )
    return ours


def run(options: argparse.Namespace) -> None:
    """Print the figures; end with the count."""
    folder = Path(tempfile.mkdtemp(prefix="pulse-bench-"))
    asyncio.run(make_control(folder))
    one, batch = folder / "one.lua", folder / "batch.lua"
    one.write_text(SCRIPT.format(event=EVENT, body="event()", agent=AGENT, visitors=VISITORS))
    batch.write_text(SCRIPT.format(event=EVENT, body=BATCH_BODY.format(count=BATCH), agent=AGENT, visitors=VISITORS))
    with Server("bare", folder, options.port) as bare, Server("collector", folder, options.port + 1) as ours:
        singles = [compare((bare, ours), one, connections, options) for connections in (64, 512)]
        (batches,) = measure((ours,), batch, 16, options)
        print(
            f"batches of {BATCH}, 16 connections: {batches.rate * BATCH:,.0f} events/s, processor "
            f"{statistics.median(batches.cpu) / BATCH:.1f} µs an event"
        )
        half = int(singles[0].rate / 2)
        sent, late = asyncio.run(measure_latency(ours.port, EVENT, half, options.seconds * 2))
        print(f"at half of the rate of 64 connections ({half:,} events/s): p99 {late:.1f} ms")
        print(f"memory of the collector at the highest: {ours.read_memory()} MB")
    acknowledged = sum(single.requests for single in singles) + batches.requests * BATCH + sent
    lines = asyncio.run(count_lines(to_log_url(folder)))
    print(f"acknowledged {acknowledged:,}, in the log {lines:,}")
    shutil.rmtree(folder)
    if lines < acknowledged:
        raise SystemExit("acknowledged events are missing from the log")


def main() -> None:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--port", type=int, default=18731)
    parser.add_argument("--serve", choices=("bare", "collector"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--log", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve(options.serve, options.folder, options.port, options.log))
    else:
        run(options)


if __name__ == "__main__":
    main()
