"""A whole cluster at full load: what a second consumer brings, and how soon an outage is made up for."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from ingest.log.open import open_log
from ingest.log.sqlite_room import Keeping
from tests.bench.consumer import LINES_A_BLOCK, fill, make_lines
from tests.cluster.asking import ask, read_ledger
from tests.cluster.clients import Book, Client, Target
from tests.cluster.cluster import Cluster, Plan
from tests.cluster.load import wait_until_landed
from tests.faults.scaled.truth import read_stored, read_twice
from tests.ingest.consumer.rivers import NOW
from tests.servers.process import read_cpu

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from ingest.log import EventLog
    from tests.cluster.processes import PulseProcess

SENDERS = 16


def bench_two_consumers(folder: Path, options: argparse.Namespace) -> None:
    """One consumer's processes against two, on four partitions that are full when they begin."""
    plan = Plan(collectors=1, consumers=2, queries=1, is_joint=True, is_balanced=False)
    with running(Cluster(folder / "consumers", plan)) as cluster:
        rates: dict[int, list[float]] = {1: [], 2: []}
        events = 0
        for count in (1, *(1, 2) * options.rounds):  # the first is for what is loaded once
            for process in consumers(cluster):
                process.stop()
            asyncio.run(fill_cluster(cluster, options.events * 4, seed=events))
            events += options.events * 4
            for process in consumers(cluster)[:count]:
                process.launch()
            rate, cpu = asyncio.run(measure_landing(cluster))
            rates[count].append(rate)
            shares = ", ".join(f"{name} {share:.2f}" for name, share in cpu.items())
            print(f"{count} of two consumers: {rate:,.0f} events/s; cores taken: {shares}")
        wait_until_landed(cluster)
        ledger = read_ledger(cluster)
        if not ledger.closed or ledger.outcomes["stored"] + ledger.outcomes["bots"] != events:
            raise SystemExit(f"{events} events went in; {ledger}")
        refuse_twice(cluster)
    one, two = rates[1][1:], rates[2]
    ratio = statistics.median(b / a for a, b in zip(one, two, strict=True))
    print(f"one consumer {statistics.median(one):,.0f} events/s, two {statistics.median(two):,.0f}: {ratio:.2f} times")


def consumers(cluster: Cluster) -> list[PulseProcess]:
    """Those that consume."""
    return [process for process in cluster.roles.values() if "consumer" in process.roles]


async def fill_cluster(cluster: Cluster, events: int, seed: int) -> None:
    """Append lines of the cluster's one site past the collector, others for each seed."""
    log = await open_log(cluster.settings["LOG_URL"], Keeping(), lambda: NOW)
    now = time.time_ns() // 1_000_000
    await fill(log, list(make_lines(events, now, 1, seed)), now)
    await log.close()


async def measure_landing(cluster: Cluster) -> tuple[float, Mapping[str, float]]:
    """Events a second while the middle eight tenths of what waits are consumed, and the cores that each process takes.

    By what is committed. Raise SystemExit when that is too soon over to be measured.
    """
    log = await open_log(cluster.settings["LOG_URL"], Keeping(), lambda: NOW)
    try:
        ends = sum([(await log.bounds(partition)).end for partition in range(log.partitions)])
        begin = await read_committed(log)
        low, high = begin + (ends - begin) // 10, begin + (ends - begin) * 9 // 10
        marks: list[Mark] = []
        while (here := await read_committed(log)) < high:
            if here >= low:
                marks.append(Mark(time.monotonic(), here, read_all_cpu(cluster)))
            await asyncio.sleep(0.05)
        marks.append(Mark(time.monotonic(), here, read_all_cpu(cluster)))
    finally:
        await log.close()
    first, last = marks[0], marks[-1]
    seconds = last.at - first.at
    if len(marks) == 1 or last.blocks == first.blocks:
        raise SystemExit("too few --events to measure")
    cpu = {name: (after - first.cpu[name]) / seconds for name, after in last.cpu.items() if name in first.cpu}
    return (last.blocks - first.blocks) * LINES_A_BLOCK / seconds, cpu


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment: monotonic seconds, blocks consumed, seconds of processor time of each process so far."""

    at: float
    blocks: int
    cpu: Mapping[str, float]


def read_all_cpu(cluster: Cluster) -> Mapping[str, float]:
    """Seconds of processor time of each running process that takes part in consuming."""
    parts = [cluster.kafka, cluster.door, *consumers(cluster)]
    return {process.name: read_cpu(pid) for process in parts if (pid := process.pid) is not None}


async def read_committed(log: EventLog) -> int:
    """Blocks that are consumed, over all partitions."""
    committed = await log.committed()
    return sum(committed[partition] for partition in range(log.partitions))


def bench_outages(folder: Path, options: argparse.Namespace) -> None:
    """How long until nothing waits after the broker, and after the warehouse, was away under load."""
    plan = Plan(collectors=2, consumers=2, queries=1, is_joint=True, is_balanced=False)
    with running(Cluster(folder / "outages", plan)) as cluster:
        for seed, name in enumerate(("kafka", "door")):
            process = cluster.processes[name]
            with sending(cluster, f"/{name}", options.load, seed) as (book, clients):
                usual = read_usual_lag(cluster)
                process.kill()
                time.sleep(options.outage)
                before = book.events
                process.start()
                back = time.monotonic()
                time.sleep(1)
                wait_until_sent(clients)
                sent_after = time.monotonic() - back
                wait_until_small(cluster, usual)
                seconds = time.monotonic() - back
            wait_until_landed(cluster)
            print(
                f"{name} away for {options.outage} s at {options.load} events/s: senders have made up for it "
                f"{sent_after:.1f} s after it is back, the lag is {usual:.1f} s as before after {seconds:.1f} s; "
                f"{before:,} acknowledged until it was back, {book.events:,} in all, "
                f"{book.refused} requests refused and sent again"
            )
            sent = Counter(path for batch in book.acknowledged for path in batch.paths)
            if sent != read_stored(cluster, f"/{name}/") or not read_ledger(cluster).closed:
                raise SystemExit(f"{name}: what was acknowledged is not what is stored")
            refuse_twice(cluster)


def refuse_twice(cluster: Cluster) -> None:
    """Raise SystemExit when anything is stored twice."""
    if any(twice := read_twice(cluster).values()):
        raise SystemExit(f"stored twice: {twice}")


def wait_until_sent(clients: Sequence[Client]) -> None:
    """Return when no client has been late for a second."""
    while max(client.behind for client in clients) > 1.0:
        time.sleep(0.1)


def read_usual_lag(cluster: Cluster) -> float:
    """The lag under load, once it has settled: the median of five seconds."""
    time.sleep(10)
    lags = []
    for _ in range(25):
        time.sleep(0.2)
        lags.append(cluster_lag(cluster))
    return statistics.median(lags)


def wait_until_small(cluster: Cluster, usual: float) -> None:
    """Return when no more waits than usual."""
    while cluster_lag(cluster) > usual:
        time.sleep(0.1)


def cluster_lag(cluster: Cluster) -> float:
    """Seconds between receipt and the numbers, as the API tells them."""
    meta = cast("dict[str, dict[str, float]]", ask(cluster, "stats", {})["meta"])
    return meta["completeness"]["lag"]


@contextmanager
def sending(cluster: Cluster, prefix: str, rate: float, seed: int) -> Iterator[tuple[Book, Sequence[Client]]]:
    """Clients that send while the block runs; afterwards each has its last batch acknowledged. Ids by the seed."""
    addresses = [role.base.removeprefix("http://") for role in cluster.roles.values() if "collector" in role.roles]
    book, target = Book(), Target(addresses, cluster.welcome.site_key)
    clients = [
        Client(target, f"{prefix}/{number}", book, seed * SENDERS + number, rate / SENDERS, keeps_pace=True)
        for number in range(SENDERS)
    ]
    for client in clients:
        client.start()
    try:
        yield book, clients
    finally:
        for client in clients:
            client.stop.set()
        for client in clients:
            client.join()


@contextmanager
def running(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster that ends with the block."""
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.kill()
