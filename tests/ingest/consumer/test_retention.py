"""Retention: whole months go, the ledger closes before and after, a crash leaves nothing half."""

from __future__ import annotations

import asyncio
import functools
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from deploy.jobs import BatchCutShortError, BetweenBatches
from ingest.progress import read_progress
from ingest.retention import Bound, Retention
from ingest.writer import no_failpoint
from schemas.control import tables
from schemas.event import SiteId
from schemas.warehouse.errors import WarehouseError
from tests.conftest import open_empty
from tests.door.faults import Kind
from tests.ingest.consumer.rivers import (
    DAY,
    NOW,
    OTHER_SITE,
    PATIENCE,
    SITE,
    Crash,
    crash_at,
    make_line,
    open_river,
    until,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from ingest.enrich.pipeline import Enricher
    from tests.door.process import Door
    from tests.ingest.consumer.rivers import River

BOT = "Googlebot/2.1 (+http://www.google.com/bot.html)"


def make_retention(river: River, failpoint: Callable[[str], None] = no_failpoint) -> Retention:
    return Retention(river.warehouse, river.control, river.versions, river.clock, failpoint)


@pytest.fixture
async def shared(control: AsyncEngine, door: Door, tmp_path: Path, enricher: Enricher) -> AsyncIterator[River]:
    """A river into a warehouse that other processes write to as well."""
    async with open_empty(door.url) as warehouse:
        river = await open_river(control, warehouse, tmp_path, enricher)
        yield river
        door.clear()
        await river.log.close()


async def keep(river: River, site: int, months: int | None) -> None:
    async with river.control.begin() as connection:
        await connection.execute(update(tables.sites).where(tables.sites.c.id == site).values(retention_months=months))


async def fill(river: River) -> None:
    """Events of both sites in September, October (a bot among them) and November 2026."""
    days = [NOW - 70 * DAY, NOW - 22 * DAY, NOW]
    await river.append([make_line(ts=ts, ingest=True, site_id=site) for ts in days for site in (SITE, OTHER_SITE)])
    await river.append([make_line(ts=days[1], ingest=True, user_agent=BOT), make_line(ts=days[0], ingest=True)])
    await river.consume()


async def months_of(river: River, site: int) -> list[object]:
    rows = await river.warehouse.query(
        "SELECT toYYYYMM(local_date) AS month FROM events WHERE site_id = {site:UInt32} ORDER BY month", {"site": site}
    )
    return [row["month"] for row in rows.to_pylist()]


async def test_months_wholly_older_than_kept_go_and_the_others_stay(river: River) -> None:
    await fill(river)
    await keep(river, SITE, 1)
    version = river.versions.of(SiteId(SITE))
    await make_retention(river).apply(asyncio.Lock())
    assert await months_of(river, SITE) == [202610, 202610, 202611]
    assert await months_of(river, OTHER_SITE) == [202609, 202610, 202611]
    assert river.versions.of(SiteId(SITE)) > version
    await river.assert_ledger_closes()


async def test_for_ever_is_the_default(river: River) -> None:
    await fill(river)
    assert await make_retention(river).apply(asyncio.Lock()) == []


async def test_a_deleted_site_keeps_nothing(river: River) -> None:
    await fill(river)
    async with river.control.begin() as connection:
        deleted = update(tables.sites).where(tables.sites.c.id == SITE).values(deleted_at=datetime.now(UTC))
        await connection.execute(deleted)
    await make_retention(river).apply(asyncio.Lock())
    assert await months_of(river, SITE) == []
    assert await months_of(river, OTHER_SITE) == [202609, 202610, 202611]
    await river.assert_ledger_closes()


@pytest.mark.parametrize("failpoint", ["counted", "deleted", "moved"])
async def test_what_fails_after_the_count_is_done_before_another_batch_lands(river: River, failpoint: str) -> None:
    left = 2

    def fail(name: str) -> None:
        nonlocal left
        if name == failpoint and left:
            left -= 1
            raise WarehouseError(name)

    await fill(river)
    await keep(river, SITE, 0)
    await make_retention(river, fail).apply(asyncio.Lock())
    assert await months_of(river, SITE) == [202611]
    await river.assert_ledger_closes()


async def test_nothing_is_erased_while_half_a_batch_is_there(river: River) -> None:
    between = BetweenBatches(
        asyncio.Lock(), functools.partial(read_progress, river.warehouse, river.log, river.number, [0, 1])
    )
    await keep(river, SITE, 0)
    await river.append([make_line(ts=NOW - 70 * DAY, ingest=True), make_line(ingest=True)])
    with pytest.raises(Crash):
        await river.consume(crash_at("month"))
    with pytest.raises(BatchCutShortError):
        await make_retention(river).apply(between)
    await river.consume()
    await make_retention(river).apply(between)
    assert await months_of(river, SITE) == [202611]
    await river.assert_ledger_closes()


async def test_erased_counts_tell_bots_apart(river: River) -> None:
    await fill(river)
    await keep(river, SITE, 0)
    await make_retention(river).apply(asyncio.Lock())
    assert await river.rows("SELECT sum(records) AS records, sum(bots) AS bots FROM erased FINAL") == [
        {"records": 3, "bots": 1}
    ]
    await river.assert_ledger_closes()


@pytest.mark.parametrize("failpoint", ["marked", "counted", "deleted", "moved"])
@pytest.mark.parametrize("others", [True, False])
async def test_a_crash_is_finished_at_the_next_start(river: River, failpoint: str, *, others: bool) -> None:
    await fill(river)
    await keep(river, SITE, 1)
    if not others:
        await make_retention(river).erase(SiteId(OTHER_SITE), 202609)
    with pytest.raises(Crash):
        await make_retention(river, crash_at(failpoint)).apply(asyncio.Lock())
    again = make_retention(river)
    await again.resume()
    await again.apply(asyncio.Lock())
    assert await months_of(river, SITE) == [202610, 202610, 202611]
    assert await river.rows("SELECT count() AS left FROM erasing") == [{"left": 0}]
    await river.assert_ledger_closes()


async def test_what_comes_later_for_an_erased_month_is_stored_and_counted_again(river: River) -> None:
    await fill(river)
    await keep(river, SITE, 0)
    await make_retention(river).apply(asyncio.Lock())
    await river.append([make_line(ts=NOW - 70 * DAY, ingest=True)])
    await river.consume()
    assert await months_of(river, SITE) == [202609, 202611]
    river.now += 1
    await make_retention(river).apply(asyncio.Lock())
    assert await months_of(river, SITE) == [202611]
    await river.assert_ledger_closes()


async def test_no_erased_row_comes_back_when_the_log_is_read_again(river: River) -> None:
    await fill(river)
    await keep(river, SITE, 0)
    await make_retention(river).apply(asyncio.Lock())
    before = await river.positions()
    await river.warehouse.command("TRUNCATE TABLE receipts")  # as if nothing had been consumed
    await river.consume()
    assert await river.positions() == before


async def test_counts_that_land_after_the_next_leader_has_resumed_are_finished_and_not_counted_again(
    shared: River, door: Door
) -> None:
    await fill(shared)
    bound = Bound(shared.number, [2, 0])
    door.fault(Kind.HOLD, "INSERT INTO `?erasing")
    first = asyncio.create_task(make_retention(shared).erase(SiteId(SITE), 202609, bound))
    await until(lambda: door.held() == 1)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    second = make_retention(shared)
    await second.resume()
    door.release()
    async with asyncio.timeout(PATIENCE):
        while not await shared.rows("SELECT 1 AS one FROM erasing"):  # noqa: ASYNC110 (rows have no event)
            await asyncio.sleep(0.02)
    shared.now += 1
    await second.erase(SiteId(SITE), 202609, bound)
    assert await months_of(shared, SITE) == [202610, 202610, 202611]
    assert await shared.rows("SELECT count() AS left FROM erasing") == [{"left": 0}]
    await shared.assert_ledger_closes()


async def test_counts_whose_answer_was_lost_are_counted_once(shared: River, door: Door) -> None:
    await fill(shared)
    door.fault(Kind.LOSE_ANSWER, "INSERT INTO `?erasing")
    await make_retention(shared).erase(SiteId(SITE), 202609, Bound(shared.number, [2, 0]))
    assert door.waiting() == 0
    assert await months_of(shared, SITE) == [202610, 202610, 202611]
    await shared.assert_ledger_closes()
