"""The thread that writes: it is never waited for in vain, and shares its file with other processes."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ingest.log import LogUnavailableError
from ingest.log.open import open_log
from ingest.log.sqlite_room import Keeping
from tests.ingest.log.makers import NOW, SqliteMaker, make_headers

if TYPE_CHECKING:
    from pathlib import Path


class BrokenClock:
    """Fails once it is told to."""

    def __init__(self) -> None:
        self.is_broken = False

    def __call__(self) -> int:
        """Epoch milliseconds, or what no part of the log expects."""
        if self.is_broken:
            raise ZeroDivisionError
        return NOW


async def test_when_the_writer_dies_nobody_hangs(tmp_path: Path) -> None:
    clock = BrokenClock()
    log = await open_log(f"sqlite:///{tmp_path}/log.db", Keeping(), clock)
    await log.append(0, make_headers(), b"before")
    clock.is_broken = True
    appends = (log.append(number % 4, make_headers(), b"a") for number in range(10))
    outcomes = await asyncio.gather(*appends, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {LogUnavailableError}
    assert "has died: ZeroDivisionError" in str(outcomes[0])
    for use in (log.append(0, make_headers(), b"b"), log.commit({0: 1}), log.ping()):
        with pytest.raises(LogUnavailableError, match="has died"):
            await use
    assert [record.body for record in await log.read(0, 0, 1000)] == [b"before"]
    await log.close()


async def test_a_lock_held_by_another_process_is_waited_for(tmp_path: Path) -> None:
    maker = SqliteMaker(tmp_path)
    log = await maker.open()
    other = sqlite3.connect(maker.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(log.append(0, make_headers(), b"a"))
    assert not await log.wait({0: 0}, 0.2)
    assert not waiting.done()
    other.execute("ROLLBACK")
    other.close()
    assert await waiting == 0
    await log.close()


async def test_a_foreign_reader_does_not_stop_the_log(tmp_path: Path) -> None:
    maker = SqliteMaker(tmp_path, Keeping(keep_ms=0))
    log = await maker.open()
    await log.append(0, make_headers(), b"a")
    other = sqlite3.connect(maker.path, isolation_level=None)
    other.execute("BEGIN")
    assert other.execute("SELECT count(*) FROM records").fetchone() == (1,)
    for _ in range(10):
        await log.append(0, make_headers(), b"b")
    await log.trim(0, 11)
    await log.drop_older(NOW)
    assert (await log.bounds(0)).begin == 11
    other.close()
    await log.close()


OTHER = """
import asyncio, sys
from pathlib import Path
from tests.ingest.log.makers import SqliteMaker, make_headers

async def main():
    log = await SqliteMaker(Path(sys.argv[1])).open()
    print(sorted(await asyncio.gather(*(log.append(0, make_headers(), b"other") for _ in range(200)))))
    await log.close()

asyncio.run(main())
"""


async def test_another_process_may_append_at_the_same_time(tmp_path: Path) -> None:
    log = await SqliteMaker(tmp_path).open()
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OTHER, str(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    talking = asyncio.create_task(other.communicate())
    assert await log.wait({0: 0}, 30)
    ours = [await log.append(0, make_headers(), b"ours") for _ in range(200)]
    output, errors = await talking
    assert other.returncode == 0, errors
    theirs = [int(position) for position in output.decode().strip("[]\n").split(", ")]
    assert sorted(ours + theirs) == list(range(400))
    bodies = [record.body for record in await log.read(0, 0, 2**20)]
    assert [position for position, body in enumerate(bodies) if body == b"other"] == theirs
    await log.close()


async def test_a_file_taken_away_is_noticed(tmp_path: Path) -> None:
    maker = SqliteMaker(tmp_path)
    log = await maker.open()
    await log.append(0, make_headers(), b"a")
    maker.path.rename(tmp_path / "elsewhere")
    maker.clock.now += 1000
    with pytest.raises(LogUnavailableError, match="No such file"):
        await log.append(0, make_headers(), b"b")
    maker.path.write_bytes(b"")
    with pytest.raises(LogUnavailableError, match="another file"):
        await log.ping()
    await log.close()


async def test_a_block_that_is_too_long_is_a_mistake(tmp_path: Path) -> None:
    log = await SqliteMaker(tmp_path).open()
    with pytest.raises(ValueError, match="at most"):
        await log.append(0, make_headers(), bytes(17 * 2**20))
    assert await log.append(0, make_headers(), b"a") == 0
    await log.close()
