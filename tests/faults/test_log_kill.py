"""kill -9 of a process that appends: what it said was durable is there, once, where it said."""

from __future__ import annotations

import asyncio
import random
import sys
from typing import TYPE_CHECKING

from ingest.log import DEAD
from tests.ingest.log.makers import PARTITIONS, SqliteMaker

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = 8
LEAST = 50  # acknowledged blocks before a round may end


async def run_until_killed(folder: Path, number: int, random_: random.Random) -> list[str]:
    """What one process acknowledged before it was killed at a random moment."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.faults.log_appender", str(folder), str(number), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    lines = [await process.stdout.readline() for _ in range(LEAST)]
    await asyncio.sleep(random_.uniform(0, 0.3))
    process.kill()
    lines += (await process.stdout.read()).splitlines(keepends=True)
    await process.wait()
    return [line.decode().strip() for line in lines if line.endswith(b"\n")]


async def test_acknowledged_blocks_survive_kill_9_each_once(tmp_path: Path) -> None:
    random_ = random.Random(9)  # noqa: S311 - moments, not secrets
    acknowledged: list[str] = []
    for number in range(ROUNDS):
        acknowledged += await run_until_killed(tmp_path, number, random_)
    log = await SqliteMaker(tmp_path).open()
    stored: list[str] = []
    for partition in (*range(PARTITIONS), DEAD):
        position = 0
        while records := await log.read(partition, position, 2**20):
            stored += [f"{partition} {at.position} {at.body.rstrip(bytes(1)).decode()}" for at in records]
            position = records[-1].position + 1
        assert (await log.committed())[partition] <= position
    await log.close()
    assert len(acknowledged) >= ROUNDS * LEAST
    assert set(acknowledged) <= set(stored)
    bodies = [line.rsplit(" ", 1)[1] for line in stored]
    assert len(bodies) == len(set(bodies))
    assert len(stored) - len(acknowledged) <= ROUNDS * (PARTITIONS + 1) * 2
