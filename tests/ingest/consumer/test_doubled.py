"""Rows stored twice at one position: the alarm rings, a repair keeps exactly one, whatever crashes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from ingest.doubled import DoubledAlarm
from ingest.repairing import LEASE, Repair, RepairBusyError, Repaired, find_hours
from ingest.writer import no_failpoint
from tests.ingest.consumer.rivers import HOUR, NOW, OTHER_SITE, Crash, crash_at, make_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.ingest.consumer.rivers import River

THIS_HOUR = NOW // HOUR * 3600
AGAIN = "INSERT INTO events SELECT * FROM events WHERE _place % 2 = 0 AND _offset = 0"
MERGE = "OPTIMIZE TABLE events FINAL"


async def fill(river: River) -> None:
    """Six rows at places of which three are even, and a block of another partition; all once."""
    await river.append([make_line(site_id=OTHER_SITE), *(make_line() for _ in range(5))])
    await river.append([make_line()], 1)
    await river.consume()


def make_repair(river: River, failpoint: Callable[[str], None] = no_failpoint) -> Repair:
    return Repair(river.warehouse, river.control, river.clock, failpoint)


async def assert_whole(river: River) -> None:
    """Every row is there once."""
    assert await river.positions() == [*((0, 0, place) for place in range(6)), (1, 0, 0)]
    await river.assert_ledger_closes()


async def test_the_alarm_rings_until_the_rows_are_gone(river: River) -> None:
    registry = CollectorRegistry()
    alarm = DoubledAlarm(river.warehouse, registry, river.clock)
    await fill(river)
    assert await alarm.look(river.now) == 0
    await river.warehouse.command(AGAIN)
    assert await alarm.look(river.now) == 4
    assert registry.get_sample_value("pulse_positions_doubled") == 4
    river.now += 5 * HOUR
    assert await alarm.look(river.now) == 4
    await make_repair(river).repair(THIS_HOUR)
    assert await alarm.look(river.now) == 0
    assert registry.get_sample_value("pulse_positions_doubled") == 0


async def test_an_old_double_rings_after_a_restart(river: River) -> None:
    await fill(river)
    await river.warehouse.command(AGAIN)
    river.now += 47 * HOUR
    assert await DoubledAlarm(river.warehouse, CollectorRegistry(), river.clock).look(river.now) == 4


async def test_what_lands_hours_after_its_receipt_rings(river: River) -> None:
    alarm = DoubledAlarm(river.warehouse, CollectorRegistry(), river.clock)
    assert await alarm.look(NOW) == 0
    for _ in range(49):  # nothing of what was received since then has landed
        river.now += HOUR
        assert await alarm.look(NOW) == 0
    await fill(river)
    await river.warehouse.command(AGAIN)
    assert await alarm.look(river.now) == 4


async def test_who_rested_begins_anew(river: River) -> None:
    registry = CollectorRegistry()
    alarm = DoubledAlarm(river.warehouse, registry, river.clock)
    await fill(river)
    await river.warehouse.command(AGAIN)
    assert await alarm.look(river.now) == 4
    alarm.rest()
    assert registry.get_sample_value("pulse_positions_doubled") == 0
    await make_repair(river).repair(THIS_HOUR)
    assert await alarm.look(river.now + 47 * HOUR) == 0
    await river.warehouse.command(AGAIN)
    alarm.rest()
    assert await alarm.look(river.now + 47 * HOUR) == 4


@pytest.mark.parametrize("merged", [True, False])
async def test_a_repair_keeps_one_of_each(river: River, *, merged: bool) -> None:
    await fill(river)
    for _ in range(3):
        await river.warehouse.command(AGAIN)
        if merged:
            await river.warehouse.command(MERGE)
    assert await find_hours(river.warehouse, THIS_HOUR - 3600, THIS_HOUR + 3600) == [THIS_HOUR]
    repair = make_repair(river)
    assert (await repair.count(THIS_HOUR)).copies > 0
    found = await repair.repair(THIS_HOUR)
    assert found.copies > 4
    assert found.moves == 0
    await assert_whole(river)
    assert await repair.repair(THIS_HOUR) == Repaired(0, 0)


async def test_many_copies_go_in_pieces(river: River, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.repairing.ROWS_AT_ONCE", 1)
    await fill(river)
    await river.warehouse.command(AGAIN)
    assert (await make_repair(river).repair(THIS_HOUR)).copies == 4
    await assert_whole(river)


async def test_a_merge_between_listing_and_deleting_does_no_harm(river: River) -> None:
    merges = 0

    def merge(name: str) -> None:
        nonlocal merges
        if name == "listed" and not merges:
            merges += 1
            pending.append(asyncio.create_task(river.warehouse.command(MERGE)))

    pending: list[asyncio.Task[None]] = []
    await fill(river)
    await river.warehouse.command(AGAIN)
    await make_repair(river, merge).repair(THIS_HOUR)
    await asyncio.gather(*pending)
    assert merges
    await assert_whole(river)


@pytest.mark.parametrize("failpoint", ["listed", "removed"])
async def test_a_crash_loses_nothing_and_the_next_repair_finishes(river: River, failpoint: str) -> None:
    await fill(river)
    await river.warehouse.command(AGAIN)
    with pytest.raises(Crash):
        await make_repair(river, crash_at(failpoint)).repair(THIS_HOUR)
    assert set(await river.positions()) == {*((0, 0, place) for place in range(6)), (1, 0, 0)}
    again = make_repair(river)
    if failpoint == "listed":
        with pytest.raises(RepairBusyError, match="again in 180 s"):
            await again.repair(THIS_HOUR)
    river.now += LEASE
    await again.repair(THIS_HOUR)
    await assert_whole(river)


async def test_whoever_has_finished_lets_others_repair(river: River) -> None:
    await fill(river)
    for _ in range(2):
        await river.warehouse.command(AGAIN)
        repair = make_repair(river)
        await repair.repair(THIS_HOUR)
        await repair.release()
    await assert_whole(river)


async def test_a_deletion_that_comes_too_late_deletes_nothing(river: River, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.repairing.DELETE_SECONDS", 0)
    monkeypatch.setattr("ingest.repairing.ATTEMPTS", 1)
    await fill(river)
    await river.warehouse.command(AGAIN)
    with pytest.raises(Exception, match="4 second copies"):
        await make_repair(river).repair(THIS_HOUR)
    assert len(await river.positions()) == 11


DUPLICATES_TOO = (
    "INSERT INTO duplicates SELECT site_id, toStartOfHour(received), _log, _partition, _offset, _place"
    " FROM events WHERE _partition = 1"
)


@pytest.mark.parametrize("failpoint", ["noted", "inserted", "deleted", "forgotten"])
async def test_rows_that_are_duplicates_too_finish_their_move(river: River, failpoint: str) -> None:
    await fill(river)
    await river.warehouse.command(DUPLICATES_TOO)
    assert await make_repair(river).count(THIS_HOUR) == Repaired(0, 1)
    with pytest.raises(Crash):
        await make_repair(river, crash_at(failpoint)).repair(THIS_HOUR)
    river.now += LEASE
    await make_repair(river)._copies.resume()  # noqa: SLF001 - as the next look for copies does
    await make_repair(river).repair(THIS_HOUR)
    assert await river.positions() == [(0, 0, place) for place in range(6)]
    await river.assert_ledger_closes()


@pytest.mark.usefixtures("dates_as_numbers")
async def test_a_move_is_finished_on_a_server_that_gives_dates_as_numbers(river: River) -> None:
    await fill(river)
    await river.warehouse.command(DUPLICATES_TOO)
    assert await make_repair(river).repair(THIS_HOUR) == Repaired(0, 1)
    assert await river.positions() == [(0, 0, place) for place in range(6)]
