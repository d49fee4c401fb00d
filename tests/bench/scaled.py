"""The scaled form beside the embedded one, in one run: collector on Kafka, consumer over HTTP, two consumers, outages.

Real Kafka and PostgreSQL, the door as ClickHouse, all on this machine: what the servers take is missing from what Pulse
has, so ratios say what a machine gives, not what a role can do. Every part ends by counting.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import shutil
import statistics
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, cast

import structlog

from ingest.log.open import open_log, prepare_log
from ingest.log.sqlite_room import Keeping
from ingest.logs import number_of_log
from schemas.control.connect import migrate_control, open_control
from schemas.warehouse.client import Warehouse
from schemas.warehouse.migrate import migrate
from tests.bench.collector import AGENT, EVENT, SCRIPT, VISITORS, Server, count_lines, make_control, measure, to_log_url
from tests.bench.consumer import PARTITIONS, SITES, consume, fill, make_lines
from tests.bench.landing import bench_outages, bench_two_consumers
from tests.door.process import Door, TiedDoor
from tests.ingest.consumer.rivers import NOW, River, make_enricher, make_sites
from tests.servers.kafka import KafkaServer

if TYPE_CHECKING:
    from ingest.log.sqlite import SqliteLog

PORT = 18741
EVENTS_SIZE = """
SELECT sum(bytes_on_disk) AS bytes FROM system.parts
WHERE active AND database = currentDatabase() AND table = 'events'
"""


def bench_collector(folder: Path, kafka: KafkaServer, options: argparse.Namespace) -> None:
    """The same collector on either log, under the same `wrk`, in turns."""
    folder = folder / "collector"
    folder.mkdir()
    url = f"kafka://{kafka.address}/collected?partitions={PARTITIONS}"
    asyncio.run(prepare_log(url))
    asyncio.run(make_control(folder))
    script = folder / "one.lua"
    script.write_text(SCRIPT.format(event=EVENT, body="event()", agent=AGENT, visitors=VISITORS))
    with (
        Server("collector", folder, PORT) as embedded,
        Server("collector", folder, PORT + 1, log_url=url) as scaled,
    ):
        for connections in (64, 512):
            base, ours = measure((embedded, scaled), script, connections, options)
            ratios = [own / other for own, other in zip(ours.rates, base.rates, strict=True)]
            print(
                f"collector, {connections} connections: Kafka {ours.rate:,.0f} events/s, SQLite {base.rate:,.0f}, "
                f"ratio {statistics.median(ratios):.2f} (rounds {min(ratios):.2f} to {max(ratios):.2f}); "
                f"p99 {statistics.median(ours.p99):.0f} and {statistics.median(base.p99):.0f} ms; "
                f"processor {statistics.median(ours.cpu):.0f} and {statistics.median(base.cpu):.0f} µs a request"
            )
            for log_url, rounds in ((to_log_url(folder), base), (url, ours)):
                refuse_fewer(asyncio.run(count_lines(log_url)), rounds.requests)


def refuse_fewer(found: int, acknowledged: int) -> None:
    """Raise SystemExit when something that was acknowledged is missing."""
    if found < acknowledged:
        raise SystemExit(f"{acknowledged} acknowledged, {found} in the log")


async def bench_consumer(folder: Path, kafka: KafkaServer, door: Door, options: argparse.Namespace) -> None:
    """The same consumer on either pair of log and warehouse, in turns."""
    url = f"kafka://{kafka.address}/consumed?partitions={PARTITIONS}"
    await prepare_log(url)
    async with AsyncExitStack() as stack:
        embedded = await open_river(f"sqlite:///{folder}/log.db?partitions={PARTITIONS}", f"chdb:///{folder}/w", stack)
        scaled = await open_river(url, door.url, stack)
        lines = list(make_lines(options.events * (options.rounds + 1)))
        rates: list[list[float]] = [[], []]
        for number in range(options.rounds + 1):
            for river, found in zip((embedded, scaled), rates, strict=True):
                done = number * options.events
                await fill(river.log, lines[done : done + options.events])
                found.append(options.events / await consume(river, done + options.events))
        for river in (embedded, scaled):
            (row,) = await river.rows("SELECT count() AS rows, uniqExact(event_id) AS ids FROM events")
            if row != {"rows": len(lines), "ids": len(lines)}:
                raise SystemExit(f"{len(lines)} events went in, {row} came out")
        (size,) = await embedded.rows(EVENTS_SIZE)
    base, ours = (found[1:] for found in rates)  # what is loaded once is not what is measured
    ratio = statistics.median(own / other for own, other in zip(ours, base, strict=True))
    print(
        f"consumer: Kafka and HTTP {statistics.median(ours):,.0f} events/s, embedded {statistics.median(base):,.0f}, "
        f"ratio {ratio:.2f}"
    )
    topic = sum(file.stat().st_size for file in kafka.folder.glob("data/consumed-*/*.log"))
    stored = int(str(size["bytes"])) / len(lines)
    print(f"on disk: {topic / len(lines):.0f} bytes an event in the topic, {stored:.0f} in the warehouse")


async def open_river(log_url: str, warehouse_url: str, stack: AsyncExitStack) -> River:
    """A log, a warehouse and a control plane, closed with the stack."""
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="pulse-bench-river-"))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    control = open_control(f"sqlite:///{folder}/control.db")
    stack.push_async_callback(control.dispose)
    await migrate_control(control)
    await make_sites(control, range(1, SITES + 1))
    warehouse = Warehouse(warehouse_url)
    stack.push_async_callback(warehouse.close)
    await migrate(warehouse)
    log = await open_log(log_url, Keeping(), lambda: NOW)
    stack.push_async_callback(log.close)
    number = await number_of_log(control, log.identity, lambda: NOW)
    return River(cast("SqliteLog", log), control, warehouse, folder, number, make_enricher())


def main() -> None:
    """Read the options, run the parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=("collector", "consumer", "two", "outages"), action="append")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each round of the collector")
    parser.add_argument("--events", type=int, default=200_000, help="of each round of the consumer")
    parser.add_argument("--outage", type=int, default=60, help="seconds")
    parser.add_argument("--load", type=int, default=5_000, help="events a second during an outage")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    parts = options.part or ["collector", "consumer", "two", "outages"]
    with tempfile.TemporaryDirectory(prefix="pulse-bench-") as name:
        folder = Path(name)
        if {"collector", "consumer"} & set(parts):
            with KafkaServer(folder / "kafka") as kafka, TiedDoor(folder / "door") as door:
                if "collector" in parts:
                    bench_collector(folder, kafka, options)
                if "consumer" in parts:
                    asyncio.run(bench_consumer(folder, kafka, door, options))
        if "two" in parts:
            bench_two_consumers(folder, options)
        if "outages" in parts:
            bench_outages(folder, options)


if __name__ == "__main__":
    main()
