"""What a cluster says of itself: health, metrics, the ledger, what is stored."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast
from urllib.parse import urlencode

from tests.cluster.cluster import ClusterError
from tests.cluster.processes import get

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.cluster.cluster import Cluster
    from tests.cluster.processes import PulseProcess

KINDS = ("stored", "bots", "duplicate", "dead_lettered", "in_flight", "erased")
SAMPLE = re.compile(r"^(\w+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)
ASK_SECONDS = 60.0

Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class Ledger:
    """All hours of the ledger in sums; `open_hours` are those that do not close."""

    received: int
    outcomes: Mapping[str, int]
    open_hours: Sequence[Row]
    closed: bool

    def __str__(self) -> str:
        told = ", ".join(f"{count} {kind}" for kind, count in self.outcomes.items() if count)
        return f"{self.received} received = {told or 'nothing'}: {'closes' if self.closed else 'DOES NOT CLOSE'}"


def read_metrics(process: PulseProcess, seconds: float = 2.0) -> dict[tuple[str, str], float]:
    """Every figure by name and labels as they are written; nothing where nobody answers."""
    status, body = process.get("/metrics", seconds)
    if status != 200:
        return {}
    return {(name, labels): float(value) for name, labels, value in SAMPLE.findall(body.decode())}


def read_partitions(metrics: Mapping[tuple[str, str], float]) -> list[int]:
    """The log partitions that a consumer has."""
    return sorted(int(labels.split('"')[1]) for name, labels in metrics if name == "pulse_consumer_lag_blocks")


def ask(cluster: Cluster, endpoint: str, question: Mapping[str, str]) -> Row:
    """The answer of the query API over all days of a cluster; raise ClusterError."""
    today = datetime.now(UTC).date()
    days = {"start": str(today - timedelta(days=2)), "end": str(today + timedelta(days=2))}
    headers = {"Authorization": f"Bearer {cluster.welcome.key}"}
    url = f"{cluster.ask_base}/v1/{endpoint}?{urlencode(days | dict(question))}"
    status, body = get(url, headers, ASK_SECONDS)
    if status != 200:
        message = f"GET {url}: {status} {body[:500]!r}"
        raise ClusterError(message)
    return cast("Row", json.loads(body))


def read_ledger(cluster: Cluster) -> Ledger:
    """The ledger of all sites; raise ClusterError when nobody answers."""
    answer = ask(cluster, "ledger", {})
    rows = cast("list[Row]", answer["data"])
    sums: Counter[str] = Counter()
    open_hours = []
    for row in rows:
        counts = {kind: to_count(row[kind]) for kind in KINDS}
        counts["refused"] = sum(cast("dict[str, int]", row["refused"]).values())
        sums.update(counts)
        if to_count(row["received"]) != sum(counts.values()):
            open_hours.append(row)
    received = sum(to_count(row["received"]) for row in rows)
    closed = bool(cast("Row", answer["meta"])["closed"]) and not open_hours
    return Ledger(received, sums, open_hours, closed)


def read_views(cluster: Cluster, prefix: str) -> Counter[str]:
    """Page views of every path that begins so, as the API tells them."""
    views: Counter[str] = Counter()
    question = {"limit": "1000", "filters": f"pathname=^{prefix}"}
    while True:
        answer = ask(cluster, "pages", question)
        for row in cast("list[Row]", answer["data"]):
            views[str(row["pathname"])] += to_count(row["pageviews"])
        cursor = cast("Row", answer["meta"])["cursor"]
        if not cursor:
            return views
        question["cursor"] = str(cursor)


def to_count(value: object) -> int:
    """The number in an answer."""
    return cast("int", value)
