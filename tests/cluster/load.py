"""A demo load on a running cluster, and the proof that everything acknowledged is stored once."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from typing import TYPE_CHECKING

from tests.cluster.asking import read_ledger, read_views
from tests.cluster.clients import Book, Client, Target
from tests.cluster.cluster import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cluster.cluster import Cluster

CLIENTS = 8
DRAIN_SECONDS = 120.0
LOOK_SECONDS = 0.25


def run_load(cluster: Cluster, rate: float, seconds: float, tell: Callable[[str], object]) -> bool:
    """Send `rate` events a second for so long, wait until all have landed, compare; say whether all is well."""
    name = f"/load-{uuid.uuid4().hex[:8]}"
    address = cluster.collect_base.removeprefix("http://")
    target = Target((address,), cluster.welcome.site_key)
    book = Book()
    clients = [Client(target, f"{name}/{number}", book, number, rate / CLIENTS) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(5.0, left))
        tell(f"{book.events} events acknowledged, {book.refused} requests refused, {book.broken} broken")
    for client in clients:
        client.stop.set()
    for client in clients:
        client.join()
    ended = time.monotonic()
    wait_until_landed(cluster)
    tell(f"everything has landed {time.monotonic() - ended:.1f} s after the last was acknowledged")
    return compare(cluster, book, name, tell)


def wait_until_landed(cluster: Cluster, seconds: float = DRAIN_SECONDS) -> None:
    """Return when nothing is in flight; raise ClusterError when that takes longer, or the ledger does not close."""
    until = time.monotonic() + seconds
    while (ledger := read_ledger(cluster)).outcomes.get("in_flight"):
        if time.monotonic() > until:
            message = f"still in flight after {seconds:.0f} s: {ledger}"
            raise ClusterError(message)
        time.sleep(LOOK_SECONDS)


def compare(cluster: Cluster, book: Book, prefix: str, tell: Callable[[str], object]) -> bool:
    """Whether what is stored below the prefix is what was acknowledged, each once, and the ledger closes."""
    sent = Counter(path for batch in book.acknowledged for path in batch.paths)
    views = read_views(cluster, f"{prefix}/")
    missing, more = sent - views, views - sent
    ledger = read_ledger(cluster)
    tell(f"acknowledged {sent.total()}, stored {views.total()}, lost {missing.total()}, doubled {more.total()}")
    tell(f"ledger: {ledger}")
    for strange in book.strange[:5]:
        tell(f"strange answer: {strange}")
    return not (missing or more or book.strange) and ledger.closed
