"""What `scripts/cluster status` shows, and what happens after a kill."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from tests.cluster.asking import read_ledger, read_metrics, read_partitions
from tests.cluster.cluster import ClusterError
from tests.cluster.processes import PulseProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.cluster.cluster import Cluster
    from tests.servers.process import ServerProcess

WATCH_SECONDS = 30.0
LOOK_SECONDS = 0.25
HEALTH_SECONDS = 6.0
HALTED = "T"


class Look(NamedTuple):
    """One process as it is now; texts as they are shown."""

    name: str
    pid: str
    role: str
    health: str
    memory: str
    partitions: str
    lag: str


def look_at(process: ServerProcess) -> Look:
    """Ask it and the system."""
    role = " ".join(process.roles) if isinstance(process, PulseProcess) else "server"
    pid = process.pid
    if pid is None:
        return Look(process.name, "-", role, "not running", "", "", "")
    if read_field(pid, "State").startswith(HALTED):
        return Look(process.name, str(pid), role, "halted", read_memory(pid), "", "")
    if not isinstance(process, PulseProcess):
        health = "ok" if process.is_ready() else "does not answer"
        return Look(process.name, str(pid), role, health, read_memory(pid), "", "")
    metrics = read_metrics(process) if "consumer" in process.roles else {}
    partitions = " ".join(map(str, read_partitions(metrics)))
    blocks = sum(value for (name, _), value in metrics.items() if name == "pulse_consumer_lag_blocks")
    lag = f"{blocks:.0f} blocks, {metrics.get(('pulse_consumer_lag_seconds', ''), 0):.1f} s" if partitions else ""
    return Look(process.name, str(pid), role, read_health(process), read_memory(pid), partitions, lag)


def read_health(process: PulseProcess) -> str:
    """`ok`, or what of its parts fails."""
    status, body = process.get("/readyz", HEALTH_SECONDS)
    if status == 200:
        return "ok"
    if not status:
        return "does not answer"
    parts = cast("dict[str, str]", json.loads(body).get("parts", {}))
    return "failing: " + ", ".join(name for name, state in parts.items() if state != "ok")


def read_field(pid: int, name: str) -> str:
    """A field of the system's status of a process; empty when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:")), "")


def read_memory(pid: int) -> str:
    """What is resident, in MiB."""
    found = read_field(pid, "VmRSS").split()
    return f"{int(found[0]) // 1024} MiB" if found else ""


def to_table(looks: Sequence[Look]) -> str:
    """Columns below their names."""
    rows = [Look._fields, *looks]
    widths = [max(len(row[place]) for row in rows) for place in range(len(Look._fields))]
    lines = ("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)


def show_status(cluster: Cluster, tell: Callable[[str], object]) -> None:
    """A line a process, and the ledger."""
    processes = list(cluster.processes.values())
    with ThreadPoolExecutor(len(processes)) as executor:
        tell(to_table(list(executor.map(look_at, processes))))
    try:
        tell(f"\nledger: {read_ledger(cluster)}")
    except ClusterError as error:
        tell(f"\nledger: nobody answers ({error})")


def watch_takeover(cluster: Cluster, name: str, tell: Callable[[str], object]) -> None:
    """Tell who has which log partitions, whenever that changes, until others than `name` have all."""
    others = [process for other, process in cluster.roles.items() if other != name and "consumer" in process.roles]
    everything = cluster.read_log_partitions()
    began, last = time.monotonic(), ""
    while (passed := time.monotonic() - began) < WATCH_SECONDS:
        shares = {process.name: read_partitions(read_metrics(process)) for process in others}
        told = ", ".join(f"{who} has {join(share)}" for who, share in shares.items())
        if told != last:
            tell(f"{passed:5.1f} s: {told}")
            last = told
        if sum(map(len, shares.values())) >= everything:
            return
        time.sleep(LOOK_SECONDS)


def join(partitions: Iterable[int]) -> str:
    """Partitions in words."""
    return "partitions " + " ".join(map(str, partitions)) if partitions else "no partitions"
