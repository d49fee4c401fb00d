"""What tests of the consumer share: a log, a control plane and a warehouse of their own, lines, and what came out."""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from prometheus_client import CollectorRegistry
from sqlalchemy import insert

from ingest.consumer import Consumer, Parts
from ingest.consumer_metrics import ConsumerMetrics
from ingest.disk import DiskBudget
from ingest.enrich.pipeline import Enricher, EnrichMetrics
from ingest.gathering import Sizes
from ingest.log.sqlite import SqliteLog, open_sqlite_log
from ingest.log.sqlite_room import Keeping
from ingest.logs import number_of_log
from ingest.preparing import Sources
from ingest.progress import CONSUMED
from ingest.salts import Salts
from ingest.site_facts import SiteFactsReader
from ingest.writer import no_failpoint
from schemas.control import tables
from schemas.event import BlockHeaders, ReceiptCount, SiteId
from schemas.versions import SiteVersions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from schemas.warehouse.client import Warehouse

NOW = 1_795_262_400_000  # 2026-11-21T12:00Z
HOUR = 3_600_000
DAY = 24 * HOUR
SITE = 7
OTHER_SITE = 8
PATIENCE = 90.0

Line = dict[str, object]
Row = dict[str, object]


class Crash(Exception):  # noqa: N818 (what a failpoint does, not an error of ours)
    """The process ends here, as far as the consumer can tell."""


def crash_at(name: str, times: int = 1) -> Callable[[str], None]:
    """A failpoint that crashes when the place is reached for the `times`-th time."""
    left = times

    def failpoint(here: str) -> None:
        nonlocal left
        if here == name:
            left -= 1
            if not left:
                raise Crash(name)

    return failpoint


async def until(condition: Callable[[], bool]) -> None:
    """Let others run until it holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 (a state of the product, which has no event to wait for)
            await asyncio.sleep(0)


def make_line(**fields: object) -> Line:
    """A canonical line as the collector writes it."""
    line: Line = {
        "site_id": SITE,
        "event_id": str(uuid.uuid4()),
        "url": "https://example.org/a",
        "ts": NOW - 1000,
        "received": NOW,
        "address": "192.0.2.1",
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    }
    return line | fields


def to_block(lines: Sequence[Line | bytes]) -> tuple[BlockHeaders, bytes]:
    """A block of these lines with the receipt counts that its collector would have written."""
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    counts: dict[tuple[int, int], int] = {}
    times = []
    for line in lines:
        known = line if isinstance(line, dict) else make_line()
        received = cast("int", known.get("received", NOW))
        site = known.get("site_id", SITE)
        key = (site if isinstance(site, int) and site < 2**32 else SITE, received // HOUR * 3600)
        counts[key] = counts.get(key, 0) + 1
        times.append(received)
    headers = BlockHeaders(
        len(lines),
        min(times, default=NOW),
        max(times, default=NOW),
        tuple(ReceiptCount(SiteId(site), hour, "", count) for (site, hour), count in counts.items()),
    )
    return headers, b"".join(text + b"\n" for text in texts)


@dataclass(slots=True)
class River:
    """The way from a log to the warehouse, with a clock that stands still."""

    log: SqliteLog
    control: AsyncEngine
    warehouse: Warehouse
    folder: Path
    number: int
    enricher: Enricher
    now: int = NOW
    sizes: Sizes = field(default_factory=Sizes)
    budget: int = 0
    versions: SiteVersions = field(default_factory=SiteVersions)

    def clock(self) -> int:
        """Epoch milliseconds."""
        return self.now

    async def append(self, lines: Sequence[Line | bytes], partition: int = 0) -> int:
        """One block."""
        return await self.log.append(partition, *to_block(lines))

    async def reopen(self) -> River:
        """Open the log again, making another if the file is gone."""
        log = await open_sqlite_log(self.folder / "log.db", 2, Keeping(), self.clock)
        return replace(self, log=log)

    async def renew(self) -> River:
        """An empty river in the place of this one."""
        await self.log.close()
        for table in TABLES:
            await self.warehouse.command(f"TRUNCATE TABLE {table}")
        (self.folder / "log.db").unlink()
        river = await self.reopen()
        river.number = await number_of_log(self.control, river.log.identity, self.clock)
        return river

    def make_consumer(self, failpoint: Callable[[str], None] = no_failpoint) -> Consumer:
        """A consumer as a new process would make it."""
        sources = Sources(SiteFactsReader(self.control), Salts(self.control, self.clock), lambda: None, self.clock)
        disk = DiskBudget(self.warehouse, self.folder, self.budget, self.clock)
        metrics = ConsumerMetrics(CollectorRegistry())
        parts = Parts(self.log, self.number, self.warehouse, sources, self.enricher, disk, self.versions, metrics)
        return Consumer(parts, self.sizes, failpoint)

    async def consume(self, failpoint: Callable[[str], None] = no_failpoint) -> Consumer:
        """Run a consumer until the log is consumed to its end, then stop it; a crash comes out as `Crash`."""
        consumer, stop = self.make_consumer(failpoint), asyncio.Event()
        landed = asyncio.Event()
        consumer.listen(lambda _sites, _received: landed.set())
        running = asyncio.create_task(consumer.run(stop))
        async with asyncio.timeout(PATIENCE):
            while not running.done() and not await self.is_consumed():
                landed.clear()
                waits = [asyncio.create_task(landed.wait()), running]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED, timeout=1)
                waits[0].cancel()
            stop.set()
            await running
        return consumer

    async def is_consumed(self) -> bool:
        """Whether the receipts of every block have landed."""
        rows = (
            await self.warehouse.query(CONSUMED, {"log": self.number, "partitions": list(range(self.log.partitions))})
        ).to_pylist()
        consumed = {row["_partition"]: row["consumed"] for row in rows}
        ends = {partition: (await self.log.bounds(partition)).end for partition in range(self.log.partitions)}
        return all(consumed.get(partition, 0) == end for partition, end in ends.items())

    async def rows(self, sql: str) -> list[Row]:
        """Rows of a SELECT."""
        return cast("list[Row]", (await self.warehouse.query(sql)).to_pylist())

    async def positions(self, table: str = "events") -> list[tuple[int, ...]]:
        """Where the rows of a table stand, sorted; every repetition shows."""
        columns = (await self.warehouse.query(POSITIONS[table])).to_pydict()
        return sorted(zip(*columns.values(), strict=True))

    async def ledger(self) -> dict[tuple[int, int], dict[str, int]]:
        """Per (site, hour) what was received and what became of it, counted from the tables."""
        found: dict[tuple[int, int], dict[str, int]] = {}
        for name, sql in LEDGER.items():
            for row in await self.rows(sql):
                key = (cast("int", row["site_id"]), cast("int", row["hour"]))
                if key[0]:
                    found.setdefault(key, {})[name] = cast("int", row["n"])
        return found

    async def assert_ledger_closes(self) -> None:
        """What was received is what is stored, duplicate, dead or erased, for every site and hour."""
        for key, counts in (await self.ledger()).items():
            received = counts.pop("received", 0)
            assert received == sum(counts.values()), (key, received, counts)


TABLES = ("events", "receipts", "duplicates", "moving", "dead_letters", "batches", "marks", "erased", "erasing")
POSITIONS = {
    "events": "SELECT _partition, _offset, _place FROM events",
    "duplicates": "SELECT _partition, _offset, _place FROM duplicates FINAL",
    "dead_letters": "SELECT _partition, _offset, _place FROM dead_letters FINAL",
}
LEDGER = {
    "received": "SELECT site_id, hour, sum(records) AS n FROM receipts FINAL WHERE reason = '' GROUP BY ALL",
    "stored": "SELECT site_id, toDateTime(toStartOfHour(received)) AS hour, count() AS n FROM events GROUP BY ALL",
    "duplicate": "SELECT site_id, hour, count() AS n FROM duplicates FINAL GROUP BY ALL",
    "dead": "SELECT site_id, hour, count() AS n FROM dead_letters FINAL WHERE NOT retried GROUP BY ALL",
    "erased": "SELECT site_id, hour, sum(records + bots) AS n FROM erased FINAL GROUP BY ALL",
}


async def make_sites(control: AsyncEngine, ids: Iterable[int], **fields: object) -> None:
    """Sites with these ids."""
    made = datetime.fromtimestamp(NOW / 1000, UTC)
    async with control.begin() as connection:
        if not await connection.scalar(tables.organisations.select().limit(1)):
            await connection.execute(insert(tables.organisations).values(id=1, name="o", plan="pro", created_at=made))
            await connection.execute(insert(tables.projects).values(id=1, organisation_id=1, name="p", created_at=made))
        for site in ids:
            row = {
                "id": site,
                "project_id": 1,
                "sandbox": False,
                "domain": f"example{site}.org",
                "name": "example",
                "timezone": "UTC",
                "site_key": f"sk_live_{site}",
                "is_active": True,
                "allowed_hostnames": [],
                "excluded_addresses": [],
                "visitor_key": bytes(32),
                "created_at": made,
            }
            await connection.execute(insert(tables.sites).values(row | fields))


async def open_river(control: AsyncEngine, warehouse: Warehouse, folder: Path, enricher: Enricher) -> River:
    """A new log of two partitions beside an empty warehouse, with two sites."""
    log = await open_sqlite_log(folder / "log.db", 2, Keeping(), lambda: NOW)
    number = await number_of_log(control, log.identity, lambda: NOW)
    await make_sites(control, [SITE, OTHER_SITE])
    return River(log, control, warehouse, folder, number, enricher)


def make_enricher() -> Enricher:
    """The product's enrichment."""
    return Enricher(EnrichMetrics(CollectorRegistry()))
