"""Salts: made ahead, kept as long as an event may need them, then gone from every file."""

from __future__ import annotations

import asyncio
import random
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from ingest.salts import DAY, HOUR, Salts, days_in_use, end_of_date
from schemas.control.connect import SQLITE, open_control
from tests.servers.control_fixtures import pytest_generate_tests, url_of  # noqa: F401 - pytest calls it

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from tests.servers.postgres import PostgresServer

NOON = 1_795_262_400_000  # 2026-11-21T12:00Z
TODAY = date(2026, 11, 21)
OLD = date(2019, 2, 3)


class Clock:
    """A clock that stands where it is put."""

    def __init__(self, now: int = NOON) -> None:
        self.now = now

    def __call__(self) -> int:
        """Epoch milliseconds."""
        return self.now


async def read_files(control: AsyncEngine, request: pytest.FixtureRequest) -> bytes:
    """Every byte of the control plane's file and its journals, or of the salts' table on PostgreSQL."""
    if control.dialect.name == SQLITE:
        path = Path(str(control.url.database))
        return b"".join(found.read_bytes() for found in path.parent.glob(f"{path.name}*"))
    server: PostgresServer = request.getfixturevalue("postgres")
    async with control.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.exec_driver_sql("CHECKPOINT")
        path = server.data / str(await connection.scalar(text("SELECT pg_relation_filepath('salts')")))
    return b"".join(found.read_bytes() for found in path.parent.glob(f"{path.name}*"))


def test_dates_in_use_reach_from_72_hours_after_their_end_to_two_days_ahead() -> None:
    days = days_in_use(NOON)
    assert days[0] == date(2026, 11, 18)
    assert days[-1] == date(2026, 11, 24)
    assert end_of_date(days[0]) + 72 * HOUR > NOON >= end_of_date(date(2026, 11, 17)) + 72 * HOUR


async def test_consumers_of_one_control_plane_use_one_salt(control: AsyncEngine) -> None:
    first, second = Salts(control, Clock()), Salts(control, Clock())
    await first.make_ahead()
    await second.make_ahead()
    ours = await first.read({TODAY}, set())
    assert len(ours[TODAY]) == 16
    assert await second.read({TODAY}, set()) == ours


async def test_each_date_has_a_salt_of_its_own(control: AsyncEngine) -> None:
    salts = Salts(control, Clock())
    await salts.make_ahead()
    found = await salts.read(days_in_use(NOON), set())
    assert len(set(found.values())) == len(days_in_use(NOON))


async def test_no_salt_is_made_for_an_old_date_of_a_public_event(control: AsyncEngine) -> None:
    salts = Salts(control, Clock())
    await salts.make_ahead()
    assert await salts.read({OLD}, set()) == {}


async def test_an_event_48_hours_late_finds_its_salt_wherever_the_site_is(control: AsyncEngine) -> None:
    salts = Salts(control, Clock())
    await salts.make_ahead()
    lowest = date(2026, 11, 19)  # NOON - 48 h at UTC-12
    assert lowest in await salts.read({lowest}, set())


async def test_an_old_date_gets_a_salt_for_a_backfill_until_72_hours_after_its_last_use(control: AsyncEngine) -> None:
    clock = Clock()
    salts = Salts(control, clock)
    made = await salts.read({OLD}, {OLD})
    clock.now += 71 * HOUR
    assert await salts.read({OLD}, {OLD}) == made
    clock.now += 71 * HOUR
    assert await salts.destroy(clock.now) == []
    clock.now += 2 * HOUR
    assert await salts.destroy(clock.now) == [OLD]
    assert await salts.read({OLD}, set()) == {}


async def test_a_backfilled_date_that_comes_into_use_keeps_its_salt(control: AsyncEngine) -> None:
    clock = Clock()
    salts = Salts(control, clock)
    future = date(2026, 12, 5)
    made = await salts.read({future}, {future})
    clock.now += 60 * HOUR
    await salts.read({future}, {future})
    clock.now += 12 * DAY - 60 * HOUR
    await salts.make_ahead()
    assert future not in await salts.destroy(clock.now)
    assert await salts.read({future}, set()) == made


async def test_a_salt_is_destroyed_72_hours_after_its_date_has_ended_everywhere(control: AsyncEngine) -> None:
    clock = Clock()
    salts = Salts(control, clock)
    await salts.make_ahead()
    clock.now = end_of_date(TODAY) + 72 * HOUR - 1
    assert TODAY not in await salts.destroy(clock.now)
    clock.now += 1
    assert TODAY in await salts.destroy(clock.now)
    assert await salts.read({TODAY}, set()) == {}


async def test_a_salt_is_kept_while_an_event_of_its_date_may_be_unconsumed(control: AsyncEngine) -> None:
    clock = Clock()
    salts = Salts(control, clock)
    await salts.make_ahead()
    oldest = end_of_date(TODAY) + 48 * HOUR
    clock.now = end_of_date(TODAY) + 30 * DAY
    assert TODAY not in await salts.destroy(oldest - 1)
    assert TODAY in await salts.destroy(oldest)


@pytest.mark.parametrize("rounds", [1, 40])
async def test_a_destroyed_salt_is_in_no_file(
    control: AsyncEngine, rounds: int, request: pytest.FixtureRequest
) -> None:
    clock = Clock()
    salts = Salts(control, clock)
    seen: list[bytes] = []
    for _ in range(rounds):
        await salts.make_ahead()
        days = days_in_use(clock.now)
        seen += (await salts.read(days, set())).values()
        files = await read_files(control, request)
        assert all(salt in files for salt in seen[-len(days) :])
        clock.now += 10 * DAY
        assert set(days) <= set(await salts.destroy(clock.now))
        files = await read_files(control, request)
        assert not [salt for salt in seen if salt in files]


async def test_a_destroyed_salt_leaves_the_file_that_others_stay_in(
    control: AsyncEngine, request: pytest.FixtureRequest
) -> None:
    clock = Clock()
    salts = Salts(control, clock)
    await salts.make_ahead()
    made = dict(await salts.read(days_in_use(clock.now), set()))
    seen = dict(made)
    for _ in range(10):
        clock.now = end_of_date(min(made)) + 72 * HOUR
        gone = await salts.destroy(clock.now)
        files = await read_files(control, request)
        for day in gone:
            del made[day]
        assert [day for day, salt in seen.items() if salt in files] == list(made)
        await salts.make_ahead()
        made = dict(await salts.read(days_in_use(clock.now), set()))
        seen |= made


async def test_a_destroyed_salt_of_a_backfill_leaves_the_file(
    control: AsyncEngine, request: pytest.FixtureRequest
) -> None:
    clock = Clock()
    salts = Salts(control, clock)
    await salts.make_ahead()
    salt = (await salts.read({OLD}, {OLD}))[OLD]
    assert salt in await read_files(control, request)
    clock.now += 73 * HOUR
    assert OLD in await salts.destroy(clock.now)
    assert salt not in await read_files(control, request)
    assert await salts.read({TODAY + timedelta(days=2)}, set())  # others stay


async def test_consumers_that_start_at_once_use_one_salt_a_date(control: AsyncEngine) -> None:
    old = [OLD - timedelta(days=number) for number in range(50)]
    days = {*days_in_use(NOON), *old}
    engines = [open_control(url_of(control)) for _ in range(6)]
    consumers = [Salts(engine, Clock()) for engine in engines]
    await asyncio.gather(*(salts.make_ahead() for salts in consumers))
    found = await asyncio.gather(
        *(
            salts.read(random.Random(number).sample(sorted(days), len(days)), old)  # noqa: S311 - an order
            for number, salts in enumerate(consumers)
        )
    )
    assert all(one == found[0] for one in found)
    assert found[0].keys() == days
    await asyncio.gather(*(engine.dispose() for engine in engines))


async def test_salts_that_are_read_while_others_are_destroyed_are_all_there(control: AsyncEngine) -> None:
    salts = Salts(control, Clock())
    await salts.make_ahead()
    old = {TODAY - timedelta(days=100 + number) for number in range(3)}
    for _ in range(40):
        found, destroyed = await asyncio.gather(salts.read({TODAY, *old}, old), salts.destroy(NOON))
        assert found.keys() == {TODAY, *old}
        assert not destroyed
