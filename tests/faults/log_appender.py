"""A process that appends to a log and says on standard output what was acknowledged, until it is killed.

`python -m tests.faults.log_appender FOLDER RUN` prints lines of `partition position body`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from itertools import count
from pathlib import Path

from ingest.log import DEAD
from tests.ingest.log.makers import PARTITIONS, SqliteMaker, make_headers

FILLER = 3_000


async def append_for_ever(folder: Path, run: str) -> None:
    """Two who append for each partition, while another commits and trims."""
    log = await SqliteMaker(folder).open()

    async def append(partition: int, name: str) -> None:
        for number in count():
            body = f"{run}-{partition}-{name}-{number}"
            position = await log.append(partition, make_headers(), body.encode() + bytes(number % 7 * FILLER))
            os.write(1, f"{partition} {position} {body}\n".encode())
            if number % 10 == 0:
                await log.commit({partition: position + 1})

    async with asyncio.TaskGroup() as group:
        for partition in (*range(PARTITIONS), DEAD):
            for name in "ab":
                group.create_task(append(partition, name))


if __name__ == "__main__":
    asyncio.run(append_for_ever(Path(sys.argv[1]), sys.argv[2]))
