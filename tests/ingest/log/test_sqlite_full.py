"""A log that has no room: its budget, the disk, and how it goes on afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ingest.log import LogUnavailableError
from ingest.log.sqlite_room import Keeping
from tests.faults.small_disk import fill_disk, may_mount, small_disk
from tests.ingest.log.makers import SqliteMaker, make_headers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ingest.log.sqlite import SqliteLog

MEGABYTE = 2**20
BLOCK = 100_000


async def fill_up(log: SqliteLog, what: str) -> int:
    """Append until the log refuses for that reason; how many it took."""
    for count in range(2000):
        try:
            await log.append(count % 3, make_headers(), b"%6d" % count * (BLOCK // 6))
        except LogUnavailableError as error:
            assert what in str(error)  # noqa: PT017 - the count is wanted too
            return count
    raise AssertionError


async def count_records(log: SqliteLog) -> int:
    """Records that can be read."""
    total = 0
    for partition in range(3):
        total += len(await log.read_headers(partition, (await log.bounds(partition)).begin))
    return total


async def consume_all(log: SqliteLog) -> None:
    """As if the warehouse had everything."""
    for partition in range(3):
        await log.trim(partition, (await log.bounds(partition)).end)


@pytest.mark.parametrize("budget", [MEGABYTE, 8 * MEGABYTE])
async def test_past_its_budget_a_log_refuses_and_says_why(tmp_path: Path, budget: int) -> None:
    maker = SqliteMaker(tmp_path, Keeping(budget_bytes=budget))
    log = await maker.open()
    taken = await fill_up(log, "has used up its budget")
    assert budget * 0.7 < taken * BLOCK < budget
    assert await log.used_bytes() <= budget
    with pytest.raises(LogUnavailableError, match=f"of {budget} bytes"):
        await log.ping()
    assert await count_records(log) == taken
    await log.close()


async def test_consumed_records_make_room_before_their_retention_ends(tmp_path: Path) -> None:
    maker = SqliteMaker(tmp_path, Keeping(budget_bytes=4 * MEGABYTE))
    log = await maker.open()
    for _ in range(4):
        assert await fill_up(log, "budget") > 10
        await consume_all(log)
        await log.ping()
    assert maker.path.stat().st_size < 5 * MEGABYTE
    await log.close()


async def test_what_is_not_consumed_never_makes_room(tmp_path: Path) -> None:
    log = await SqliteMaker(tmp_path, Keeping(budget_bytes=2 * MEGABYTE)).open()
    await log.append(0, make_headers(), b"first")
    await log.trim(1, 0)
    await fill_up(log, "budget")
    assert (await log.read(0, 0, 1))[0].body == b"first"
    await log.close()


async def test_a_disk_with_less_than_the_reserve_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = SqliteMaker(tmp_path, Keeping(reserve_bytes=8 * MEGABYTE))
    log = await maker.open()
    maker.clock.now += 1000
    real = os.statvfs(tmp_path)
    blocks = {"f_bavail": 7 * MEGABYTE // real.f_frsize}
    almost_full = os.statvfs_result([*real[:4], blocks["f_bavail"], *real[5:]])
    with monkeypatch.context() as patch:
        patch.setattr(os, "statvfs", lambda _path: almost_full)
        with pytest.raises(LogUnavailableError, match="are kept in reserve"):
            await log.append(0, make_headers(), b"a")
        with pytest.raises(LogUnavailableError, match="are kept in reserve"):
            await log.ping()
    assert await log.append(0, make_headers(), b"b") == 0
    await log.close()


LIMITED = """
import asyncio, resource, sys
from pathlib import Path
from ingest.log import LogUnavailableError
from ingest.log.sqlite_room import Keeping
from tests.faults.small_disk import fill_disk, may_mount, small_disk
from tests.ingest.log.makers import SqliteMaker, make_headers

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

async def refusals(log):
    results = await asyncio.gather(
        *(log.append(n, make_headers(), bytes(100_000)) for n in range(3)), return_exceptions=True)
    assert all(isinstance(result, (int, LogUnavailableError)) for result in results), results
    return sum(isinstance(result, LogUnavailableError) for result in results)

async def main():
    log = await SqliteMaker(Path(sys.argv[1])).open()
    limit(2_000_000)
    taken = refused = 0
    while not refused:
        refused = await refusals(log)
        taken += 3 - refused
    try:
        await log.ping()
    except LogUnavailableError as error:
        print(error)
    else:
        raise AssertionError
    limit(resource.RLIM_INFINITY)
    await log.ping()
    assert await refusals(log) == 0
    taken += 3
    await log.close()
    log = await SqliteMaker(Path(sys.argv[1])).open()
    assert sum([len(await log.read_headers(n, 0)) for n in range(3)]) == taken
    await log.close()

asyncio.run(main())
"""


def test_a_file_that_may_not_grow_refuses_and_recovers_by_itself(tmp_path: Path) -> None:
    done = subprocess.run(  # noqa: S603 - a text of this file
        [sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "cannot be used now" in done.stdout


# Below, a disk that is really full. Only root may make a small one: elsewhere these tests are not there, and what they
# show of errors and recovery is shown by the limit on file size above.
SMALL_DISK = 24 * MEGABYTE

if may_mount():

    @pytest.fixture
    def disk(tmp_path: Path) -> Iterator[Path]:
        """A folder on a disk of its own."""
        with small_disk(tmp_path, SMALL_DISK):
            yield tmp_path

    async def test_on_a_full_disk_nothing_acknowledged_is_lost_and_space_heals(disk: Path) -> None:
        maker = SqliteMaker(disk, Keeping(reserve_bytes=0))
        log = await maker.open()
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(SMALL_DISK // 2))
        first = await fill_up(log, "")
        fill_disk(disk)
        assert await fill_up(log, "full") == 0
        with pytest.raises(LogUnavailableError, match="full"):
            await log.ping()
        assert await count_records(log) == first
        ballast.unlink()
        await log.ping()
        second = await fill_up(log, "full")
        await log.close()
        log = await maker.open()
        assert second > 10
        assert await count_records(log) == first + second
        await log.close()

    async def test_a_log_that_fills_the_disk_goes_on_once_it_is_consumed(disk: Path) -> None:
        log = await SqliteMaker(disk).open()
        for _ in range(3):
            assert await fill_up(log, "are kept in reserve") > 50
            await consume_all(log)
            await log.ping()
        await log.close()
