"""How long the embedded log keeps what, and that nothing of it is left in the file afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ingest.log import DEAD, Bounds
from ingest.log.sqlite_room import Keeping
from tests.ingest.log.makers import HOUR, NOW, SqliteMaker, make_headers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ingest.log import EventLog

DAY = 24 * HOUR
MARK = b"203.0.113."


async def fill(log: EventLog, partition: int, numbers: Sequence[int], size: int = 1) -> None:
    """Blocks with an address each."""
    for number in numbers:
        await log.append(partition, make_headers(), b"%s%d " % (MARK, number) * size)


def count_addresses(folder: Path) -> int:
    """How many addresses are found in any file of the log, deleted or not."""
    return sum(file.read_bytes().count(MARK) for file in folder.iterdir() if not file.name.endswith("-shm"))


@pytest.mark.parametrize(
    ("later", "begin"), [(0, 0), (DAY - 1, 0), (DAY, 2), (DAY + HOUR - 1, 2), (DAY + HOUR, 3), (100 * DAY, 3)]
)
async def test_consumed_records_go_a_day_after_they_came(tmp_path: Path, later: int, begin: int) -> None:
    maker = SqliteMaker(tmp_path)
    log = await maker.open()
    await fill(log, 0, range(2))
    maker.clock.now = NOW + HOUR
    await fill(log, 0, range(2, 5))
    await log.trim(0, 3)
    await log.drop_older(NOW + later)
    assert await log.bounds(0) == Bounds(begin, 5)
    await log.close()


async def test_what_is_not_consumed_stays_for_ever(tmp_path: Path) -> None:
    log = await SqliteMaker(tmp_path).open()
    await fill(log, 0, range(3))
    await log.commit({0: 3})
    await log.drop_older(NOW + 1000 * DAY)
    assert await log.bounds(0) == Bounds(0, 3)
    await log.close()


@pytest.mark.parametrize(("later", "begin"), [(7 * DAY - 1, 0), (7 * DAY, 3)])
async def test_dead_lines_go_after_a_week_consumed_or_not(tmp_path: Path, later: int, begin: int) -> None:
    log = await SqliteMaker(tmp_path).open()
    await fill(log, DEAD, range(3))
    await log.drop_older(NOW + later)
    assert await log.bounds(DEAD) == Bounds(begin, 3)
    await log.close()


async def test_trim_never_goes_back_nor_beyond_the_end(tmp_path: Path) -> None:
    log = await SqliteMaker(tmp_path, Keeping(keep_ms=0)).open()
    await fill(log, 0, range(3))
    await log.trim(0, 2)
    await log.trim(0, 1)
    await log.drop_older(NOW)
    assert await log.bounds(0) == Bounds(2, 3)
    await log.trim(0, 1000)
    await log.drop_older(NOW)
    assert await log.bounds(0) == Bounds(3, 3)
    await fill(log, 0, range(1))
    assert await log.bounds(0) == Bounds(3, 4)
    await log.close()


async def test_positions_outlive_their_records(tmp_path: Path) -> None:
    maker = SqliteMaker(tmp_path, Keeping(keep_ms=0))
    log = await maker.open()
    await fill(log, 0, range(3))
    await log.trim(0, 3)
    await log.drop_older(NOW)
    await log.close()
    log = await maker.open()
    assert await log.bounds(0) == Bounds(3, 3)
    assert await log.append(0, make_headers(), b"next") == 3
    await log.close()


@pytest.mark.parametrize("size", [1, 300, 6_000])
async def test_no_byte_of_an_address_is_left_once_it_was_dropped(tmp_path: Path, size: int) -> None:
    log = await SqliteMaker(tmp_path).open()
    for partition in (0, 1, DEAD):
        await fill(log, partition, range(100), size)
    assert count_addresses(tmp_path) >= 300 * size
    for partition in (0, 1):
        await log.trim(partition, 100)
    await log.drop_older(NOW + 7 * DAY)
    assert count_addresses(tmp_path) == 0
    await log.close()
    assert count_addresses(tmp_path) == 0


async def test_what_stays_is_all_that_is_left(tmp_path: Path) -> None:
    log = await SqliteMaker(tmp_path, Keeping(keep_ms=0)).open()
    await fill(log, 0, range(100))
    await log.trim(0, 60)
    await log.drop_older(NOW)
    assert count_addresses(tmp_path) == 40
    await log.close()


async def test_housekeeping_needs_nobody_to_ask_for_it(tmp_path: Path) -> None:
    maker = SqliteMaker(tmp_path)
    log = await maker.open()
    await fill(log, 0, range(100))
    await log.trim(0, 99)
    maker.clock.now = NOW + DAY
    while (await log.bounds(0)).begin < 99:
        await log.append(1, make_headers(), b"time goes on")
    await log.close()


async def test_a_file_that_was_large_gives_the_disk_back(tmp_path: Path) -> None:
    maker = SqliteMaker(tmp_path)
    log = await maker.open()
    for number in range(200):
        await log.append(number % 3, make_headers(), bytes(200_000))
    for partition in range(3):
        await log.trim(partition, (await log.bounds(partition)).end - 1)
    large = maker.path.stat().st_size
    assert large > 35_000_000
    maker.clock.now = NOW + DAY
    while maker.path.stat().st_size > large // 2 + 5_000_000:
        await log.append(0, make_headers(), b"time goes on")
    for partition in (1, 2):
        assert len(await log.read(partition, (await log.bounds(partition)).end - 1, 1)) == 1
    await log.close()


async def test_the_journal_does_not_grow_with_what_is_appended(tmp_path: Path) -> None:
    maker = SqliteMaker(tmp_path)
    log = await maker.open()
    journal = maker.path.with_name("log.db-wal")
    longest = 0
    for number in range(300):
        await log.append(number % 3, make_headers(), bytes(100_000))
        longest = max(longest, journal.stat().st_size)
        await log.read(number % 3, (await log.bounds(number % 3)).begin, 2**20)
    assert longest < 6 * 2**20
    await log.close()
