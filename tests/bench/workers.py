"""Collectors on one port: one process, then several workers under a parent, taking turns under the same `wrk`.

`wrk` takes a core of its own: on two cores two workers have one and a half at most. Connections that are given to the
workers unevenly show in the shares of their processor time.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import statistics
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.collector import AGENT, EVENT, SCRIPT, VISITORS, make_control
from tests.product import Product

CPU = re.compile(r'process_cpu_seconds_total(?:\{worker="\d+"\})? ([\d.e+]+)')
ACCEPTED = re.compile(r"pulse_collector_accepted_total ([\d.e+]+)")


@dataclass(slots=True)
class Result:
    """Rates and p99 in ms, round by round; the share of the busiest worker; what was acknowledged in all."""

    rates: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    busiest: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    requests: int = 0


def read_cpu(product: Product) -> list[float]:
    """Seconds of processor time of each worker."""
    return [float(value) for value in CPU.findall(product.get("/metrics")[1].decode())]


def load(product: Product, script: Path, connections: int, seconds: int, result: Result) -> None:
    """One round; raise SystemExit for any answer but a 2xx."""
    before = read_cpu(product)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "-s", str(script), "--latency"]
    text = subprocess.run(  # noqa: S603 - our own words
        [*command, f"{product.base}/v1/events"], capture_output=True, text=True, check=True
    ).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(text)
    used = [after - then for after, then in zip(read_cpu(product), before, strict=True)]
    requests = int(re.findall(r"(\d+) requests in", text)[0])
    number, unit = re.findall(r"99%\s+([\d.]+)(us|ms|s)", text)[0]
    result.requests += requests
    result.rates.append(float(re.findall(r"Requests/sec:\s+([\d.]+)", text)[0]))
    result.late.append(float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit])
    result.busiest.append(max(used) / sum(used))
    result.costs.append(sum(used) / requests * 1e6)


def run(options: argparse.Namespace) -> None:
    """Print the figures; end with what the figures of all workers say was accepted."""
    results = {count: Result() for count in options.workers}
    products: dict[int, Product] = {}
    script = Path(tempfile.mkdtemp(prefix="pulse-bench-")) / "one.lua"
    script.write_text(SCRIPT.format(event=EVENT, body="event()", agent=AGENT, visitors=VISITORS))
    for count in options.workers:
        folder = Path(tempfile.mkdtemp(prefix="pulse-bench-"))
        (folder / "data").mkdir()
        asyncio.run(make_control(folder / "data"))
        products[count] = Product(folder, {"COLLECT_ADDRESS_LIMIT": "0", "LOG_LEVEL": "warning"})
        products[count].start("--role", "collector", "--workers", str(count))
    for _ in range(options.rounds):
        for count, product in products.items():
            load(product, script, options.connections, options.seconds, results[count])
    for count, result in results.items():
        accepted = float(ACCEPTED.findall(products[count].get("/metrics")[1].decode())[0])
        print(
            f"{count} worker(s), {options.connections} connections: {statistics.median(result.rates):,.0f} events/s "
            f"(rounds {min(result.rates):,.0f} to {max(result.rates):,.0f}), p99 {statistics.median(result.late):.1f} "
            f"ms, processor {statistics.median(result.costs):.1f} µs an event, busiest worker "
            f"{statistics.median(result.busiest):.0%}; acknowledged {result.requests:,}, in the figures {accepted:,.0f}"
        )
        products[count].stop()


def main() -> None:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    run(parser.parse_args())


if __name__ == "__main__":
    main()
