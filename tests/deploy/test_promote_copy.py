"""Copying while the old warehouse changes: in order, each row once, and what was erased meanwhile is gone in both."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from deploy import copying, promote_copy
from deploy.admin_move import MOVES
from deploy.promote_copy import Copier
from deploy.promote_source import Source
from deploy.promote_target import Target
from deploy.terminal import CommandError
from ingest.retention import Retention
from ingest.writer import no_failpoint
from schemas.event import SiteId
from schemas.versions import SiteVersions
from tests.conftest import open_empty

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from deploy.asking import Arguments, Result
    from deploy.parts import Parts
    from deploy.promote_source import LogFacts
    from schemas.warehouse.client import Warehouse

PARTITIONS = 2
EVENTS = """
INSERT INTO events (site_id, local_date, visitor_id, ts, received, event_id, name, _log, _partition, _offset, _place)
SELECT 1 + number % 2, toDate('2026-09-20') + number % 20, cityHash64(number), now64(3), now64(3), number, 'pageview',
    7, intDiv(number, 2) % {partitions:UInt16}, {begin:UInt64} + intDiv(number, 20), number % 20
FROM numbers({events:UInt64})
"""
RECEIPTS = """
INSERT INTO receipts SELECT site_id, toStartOfHour(toDateTime(received, 'UTC')), 7, _partition, _offset, '', count()
FROM events WHERE _offset >= {begin:UInt64} GROUP BY ALL
"""


class Show:
    """Nobody looks."""

    def say(self, text: str) -> None:
        """Not told."""

    def count(self, done: int, total: int) -> None:
        """Not drawn."""


class Old:
    """An old installation without the server around it; 20 events a position, equally many in each partition."""

    def __init__(self, warehouse: Warehouse, folder: Path) -> None:
        self.warehouse = warehouse
        self._folder = folder
        self._end = 0

    async def add(self, positions: int) -> None:
        """Land so many positions more in every partition."""
        values = {"partitions": PARTITIONS, "begin": self._end, "events": positions * 20}
        await self.warehouse.command(EVENTS, values)
        await self.warehouse.command(RECEIPTS, {"begin": self._end})
        self._end += positions

    async def ask(self, command: str, arguments: Arguments) -> Result:
        """What the server would answer."""
        log = SimpleNamespace(identity="i", partitions=PARTITIONS)
        base = SimpleNamespace(settings=SimpleNamespace(data=self._folder), log=log)
        parts = SimpleNamespace(warehouse=self.warehouse, number=7, base=base, read_positions=self._read_positions)
        return await MOVES[command](cast("Parts", parts), arguments)

    async def _read_positions(self) -> dict[int, int]:
        return dict.fromkeys(range(PARTITIONS), self._end)


@pytest.fixture
async def old(warehouse: Warehouse, tmp_path: Path) -> Old:
    """With some events."""
    old = Old(warehouse, tmp_path)
    await old.add(300)
    return old


@pytest.fixture
async def new(engine_url: str) -> AsyncIterator[Warehouse]:
    """An empty warehouse."""
    async with open_empty(engine_url) as warehouse:
        yield warehouse


@pytest.fixture
async def copier(old: Old, new: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Copier:
    """What copies, in many small chunks."""
    monkeypatch.setattr(copying, "CHUNK_ROWS", 700)
    target = Target(new, "promotion-1")
    await target.prepare()
    settings = SimpleNamespace(data=tmp_path)
    return Copier(Source(settings, old.ask), target, Show())  # type: ignore[arg-type]


async def count(warehouse: Warehouse, what: str = "count()") -> int:
    rows = (await warehouse.query(f"SELECT {what} AS found FROM events")).to_pylist()  # noqa: S608 - text of ours
    return int(rows[0]["found"])


async def test_rows_that_come_between_rounds_are_copied_once(old: Old, new: Warehouse, copier: Copier) -> None:
    await copier.copy_rounds()
    await old.add(40)
    proof = await copier.prove(7, mend=False)
    assert await count(new) == await count(new, "uniqExact(_partition, _offset, _place)") == 340 * 20
    assert sum(proof.cells.values()) == 2 * 340 * 20  # received and stored
    await copier.prove(7, mend=False)
    assert await count(new) == 340 * 20


async def test_rounds_end_where_as_much_comes_during_a_round_as_was_copied_in_it(
    old: Old, new: Warehouse, copier: Copier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promote_copy, "ENOUGH_ROWS", 100)
    coming = iter((100, 40, 35, 35, 35))
    looked = Source.look

    async def look(source: Source) -> LogFacts:
        facts = await looked(source)
        await old.add(next(coming))  # while what it found is copied
        return facts

    monkeypatch.setattr(Source, "look", look)
    await copier.copy_rounds()
    assert await count(new) == (300 + 100 + 40 + 35) * 20
    assert list(coming) == [35]


async def test_what_was_erased_meanwhile_is_gone_in_the_copy_too(
    old: Old, new: Warehouse, copier: Copier, control: AsyncEngine
) -> None:
    await copier.copy_rounds()
    retention = Retention(old.warehouse, control, SiteVersions(), lambda: 1_795_000_000_000, no_failpoint)
    await retention.erase(SiteId(1), 202609)
    await old.add(10)
    await copier.prove(7, mend=False)
    assert await count(new) == await count(old.warehouse) < 310 * 20


async def test_rows_that_are_gone_from_the_copy_are_named_and_mended_when_asked(
    old: Old, new: Warehouse, copier: Copier
) -> None:
    await copier.copy_rounds()
    await new.command("DELETE FROM events WHERE site_id = 2 AND toYYYYMM(local_date) = 202610 AND _place = 11")
    with pytest.raises(CommandError, match=r"events of site 2 in 202610: old 1500, new 1200"):
        await copier.prove(7, mend=False)
    await copier.prove(7, mend=True)
    assert await count(new) == await count(old.warehouse)


async def test_a_warehouse_with_other_rows_is_refused(old: Old) -> None:
    with pytest.raises(CommandError, match="not empty"):
        await Target(old.warehouse, "promotion-2").prepare()
