"""Kills the product at random moments under load, again and again, and counts by its own API what has survived.

Every event is a page view of a path of its own, so a list of paths shows each that is missing and each that is there
twice. Some of what was not acknowledged is sent again after the restart, as a client would, with the same event ids.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast
from urllib.parse import urlencode

from tests.faults.senders import DOMAIN, Batch, Book, Sender
from tests.product import Product, ProductError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

CONNECTIONS = 8
LANDED_SECONDS = 120.0
KILLED_STARTING = 0.3
SENT_AGAIN = 0.5
FAILPOINTS = ("month", "events", "judged", "receipts", "committed")  # places between two writes of the consumer
FAILPOINT_SECONDS = 120.0
FAILPOINT_EVERY = 4  # one round in so many dies at a failpoint
SETTINGS = {"COLLECT_ADDRESS_LIMIT": "0", "GEO": "off", "PLAN": "enterprise"}
KINDS = ("stored", "bots", "duplicate", "dead_lettered", "in_flight", "erased")

Row = dict[str, object]


class KillRunError(Exception):
    """Something acknowledged is missing, something is there twice, or the numbers do not agree."""


@dataclass(slots=True)
class KillRun:
    """One data folder, the process on it, and the book of all that was sent."""

    product: Product
    random: random.Random
    site_key: str = ""
    key: str = ""
    book: Book = field(default_factory=Book)
    kills: int = 0

    def prepare(self) -> None:
        """Make a site and a key."""
        self.site_key = str(self.product.run_json("site", "create", "--domain", DOMAIN)["site_key"])
        self.key = str(self.product.run_json("key", "create", "--name", "kill")["key"])

    def round(self, number: int) -> None:
        """Send, kill, start again (now and then killed while it starts), compare."""
        senders = self.start_senders(number)
        time.sleep(self.random.uniform(0.05, 1.5))
        self.kill(senders)
        if self.random.random() < KILLED_STARTING:
            self.kill_while_starting()
        self.product.start()
        self.wait_until_landed()
        self.compare(f"/r{number}/")

    def round_of_failpoint(self, number: int, name: str) -> None:
        """Send until the process dies at the failpoint, start again, compare."""
        self.product.kill()
        self.product.start("--failpoint", name)
        senders = self.start_senders(number)
        assert self.product.process is not None
        code = self.product.process.wait(FAILPOINT_SECONDS)
        self.kill(senders)
        if code != -signal.SIGKILL:
            message = f"at the failpoint {name} the process ended with {code}"
            raise KillRunError(message)
        self.product.start()
        self.wait_until_landed()
        self.compare(f"/r{number}/")

    def start_senders(self, number: int) -> list[Sender]:
        """Let all connections send; half of what nobody acknowledged goes once more."""
        again = [batch for batch in self.book.unknown.values() if self.random.random() < SENT_AGAIN]
        address = ("127.0.0.1", self.product.port)
        senders = []
        for place in range(CONNECTIONS):
            seed = random.Random(self.random.random())  # noqa: S311 - sizes, not secrets
            sender = Sender(address, self.site_key, f"/r{number}/s{place}", self.book, seed)
            sender.again = again[place::CONNECTIONS]
            senders.append(sender)
            sender.start()
        return senders

    def kill(self, senders: list[Sender]) -> None:
        """Kill it with -9 while they send."""
        self.product.kill()
        self.kills += 1
        for sender in senders:
            sender.stop.set()
            sender.join()

    def kill_while_starting(self) -> None:
        """Kill it with -9 at some moment of the start, or shortly after it."""
        timer = threading.Timer(self.random.uniform(0.3, 2.5), self._kill_process)
        timer.start()
        with suppress(ProductError):
            self.product.start()
        timer.join()
        self.product.kill()
        self.kills += 1

    def _kill_process(self) -> None:
        if self.product.process is not None:
            self.product.process.kill()

    def wait_until_landed(self) -> None:
        """Return when nothing is in flight; at every look on the way the ledger has to close."""
        end = time.monotonic() + LANDED_SECONDS
        while any(to_count(row["in_flight"]) for row in self.read_ledger()):
            if time.monotonic() > end:
                message = f"still in flight after {LANDED_SECONDS} s: {self.read_ledger()}"
                raise KillRunError(message)
            time.sleep(0.05)

    def compare(self, prefix: str) -> None:
        """Raise KillRunError unless all acknowledged paths that begin so are there, none twice, and totals agree."""
        views = self.read_views(prefix)
        sure = to_paths(self.book.acknowledged.values(), prefix)
        maybe = to_paths(self.book.unknown.values(), prefix)
        ledger = self.read_ledger()
        stored = sum(to_count(row["stored"]) for row in ledger)
        (stats,) = self.ask("stats")
        least = sum(len(batch.ids) for batch in self.book.acknowledged.values())
        most = least + sum(len(batch.ids) for batch in self.book.unknown.values())
        problems: dict[str, Sequence[object]] = {
            "missing": sorted(sure - views.keys()),
            "twice": sorted(path for path, count in views.items() if count != 1),
            "never sent": sorted(views.keys() - sure - maybe),
            "strange answers": self.book.strange,
            "dead letters": [row for row in ledger if row["dead_lettered"]],
            "totals": []
            if least <= stored <= most and stored == stats["pageviews"] == stats["events"]
            else [f"sent {least} to {most}, {stored} in the ledger, {stats}"],
        }
        told = {name: (len(found), found[:10]) for name, found in problems.items() if found}
        if told:
            message = f"after {self.kills} kills: {told}"
            raise KillRunError(message)

    def read_views(self, prefix: str) -> dict[str, int]:
        """Page views of every path that begins so, from the whole list."""
        views: dict[str, int] = {}
        question = {"limit": "1000", "filters": f"pathname=^{prefix}"}
        while True:
            answer = self._get("pages", question)
            for row in cast("list[Row]", answer["data"]):
                path = str(row["pathname"])
                views[path] = views.get(path, 0) + to_count(row["pageviews"])
            cursor = cast("Row", answer["meta"])["cursor"]
            if not cursor:
                return views
            question["cursor"] = str(cursor)

    def read_ledger(self) -> list[Row]:
        """Rows of the ledger; raise KillRunError when one does not close."""
        rows = self.ask("ledger")
        for row in rows:
            refused = cast("dict[str, int]", row["refused"])
            if row["received"] != sum(to_count(row[kind]) for kind in KINDS) + sum(refused.values()):
                message = f"the ledger does not close: {row}"
                raise KillRunError(message)
        return rows

    def ask(self, endpoint: str) -> list[Row]:
        """Rows of a question over all that was sent."""
        return cast("list[Row]", self._get(endpoint, {})["data"])

    def _get(self, endpoint: str, more: Mapping[str, str]) -> Row:
        today = datetime.now(UTC).date()
        days = {"start": str(today - timedelta(days=1)), "end": str(today + timedelta(days=1))}
        return self.product.get_json(f"/v1/{endpoint}?{urlencode(days | dict(more))}", self.key)

    def describe(self) -> str:
        """What was done so far, in one line."""
        least = sum(len(batch.ids) for batch in self.book.acknowledged.values())
        unknown = sum(len(batch.ids) for batch in self.book.unknown.values())
        duplicates = sum(to_count(row["duplicate"]) for row in self.read_ledger())
        return (
            f"{self.kills} kills, {least} events acknowledged and there once, {unknown} not acknowledged, "
            f"{duplicates} duplicates recognised"
        )


def to_count(value: object) -> int:
    """The number in an answer."""
    return cast("int", value)


def to_paths(batches: Iterable[Batch], prefix: str) -> set[str]:
    """All their paths that begin so."""
    return {path for batch in batches for path in batch.paths if path.startswith(prefix)}


def run_rounds(folder: Path, rounds: int, seed: int, tell: Callable[[str], object]) -> None:
    """Run them all and stop the product as an operator does; raise KillRunError at the first that goes wrong."""
    with Product(folder, SETTINGS) as product:
        run = KillRun(product, random.Random(seed))  # noqa: S311 - moments, not secrets
        run.prepare()
        for number in range(rounds):
            if number % FAILPOINT_EVERY == FAILPOINT_EVERY - 1:
                run.round_of_failpoint(number, FAILPOINTS[number // FAILPOINT_EVERY % len(FAILPOINTS)])
            else:
                run.round(number)
            tell(f"round {number + 1} of {rounds}: {run.describe()}")
        run.compare("/")
        tell(f"All well: {run.describe()}")
