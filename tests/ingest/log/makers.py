"""What the tests of logs share: one maker of headers, and one maker of logs for each implementation."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlencode

from ingest.log.kafka import open_kafka_log
from ingest.log.kafka_prepare import prepare_kafka
from ingest.log.sqlite import open_sqlite_log
from ingest.log.sqlite_room import Keeping
from schemas.event import BlockHeaders, ReceiptCount, SiteId

if TYPE_CHECKING:
    from pathlib import Path

    from ingest.log import EventLog
    from ingest.log.kafka import KafkaLog
    from ingest.log.sqlite import SqliteLog

PARTITIONS = 3
NOW = 1_795_000_000_000
HOUR = 3_600_000
PATIENT_MS = 30_000  # what a test that is not about deadlines gives a busy machine
numbers = itertools.count(1)


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self, now: int = NOW) -> None:
        self.now = now

    def __call__(self) -> int:
        """Epoch milliseconds."""
        return self.now


class LogMaker(Protocol):
    """Opens one and the same log as often as it is asked; a new maker has a new log of PARTITIONS partitions."""

    async def open(self) -> EventLog:
        """Open it; the caller closes it."""

    def another(self) -> LogMaker:
        """A maker of another log."""


class SqliteMaker:
    """A log in a file of its own."""

    def __init__(self, folder: Path, keeping: Keeping | None = None) -> None:
        self.path = folder / "log.db"
        self.keeping = keeping or Keeping()
        self.clock = Clock()

    async def open(self) -> SqliteLog:
        """Open the file, the first time make it."""
        return await open_sqlite_log(self.path, PARTITIONS, self.keeping, self.clock)

    def another(self) -> SqliteMaker:
        """A file elsewhere."""
        return SqliteMaker(self.path.parent / "another")


class KafkaMaker:
    """A log in a topic of its own, at a broker that many share. `options` go into the URL, which starts with `door`."""

    def __init__(self, door: str, **options: str | int) -> None:
        self.topic = f"log-{next(numbers)}"
        self.door = door
        self.options: dict[str, str | int] = {"partitions": PARTITIONS, "deadline_ms": PATIENT_MS, **options}
        self._is_prepared = False

    @property
    def url(self) -> str:
        """Of the log."""
        return f"{self.door}/{self.topic}?{urlencode(self.options)}"

    async def open(self) -> KafkaLog:
        """Open the topic, the first time make it."""
        if not self._is_prepared:
            await prepare_kafka(self.url)
            self._is_prepared = True
        return await open_kafka_log(self.url)

    def another(self) -> KafkaMaker:
        """Another topic at the same broker."""
        return KafkaMaker(self.door, **self.options)


def make_headers(lines: int = 1, reason: str = "") -> BlockHeaders:
    """Headers of a block of so many lines of one site."""
    counts = (ReceiptCount(SiteId(1), NOW // 1000, reason, lines),)
    return BlockHeaders(lines=lines, first_received=NOW, last_received=NOW + 1, counts=counts)


def now_ms() -> int:
    """The real time."""
    return time.time_ns() // 1_000_000
