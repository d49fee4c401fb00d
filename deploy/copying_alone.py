"""One process at a time for a piece of work on a data folder; others can tell whether it still lives.

The system lets go of the lock when the process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deploy.terminal import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ATTEMPTS, ATTEMPT_SECONDS = 10, 0.02


@contextmanager
def working_alone(data: Path, work: str) -> Iterator[None]:
    """Be the only one at `work` (a command of `pulse`) on this folder; raise CommandError when another is at it."""
    data.mkdir(parents=True, exist_ok=True)
    with (data / f"{work}.lock").open("a") as file:
        for attempt in range(ATTEMPTS):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if attempt + 1 < ATTEMPTS:
                    time.sleep(ATTEMPT_SECONDS)  # it may be held by who only looks whether it is held
                    continue
            message = f"another `pulse {work}` is at work on {data}: wait for it, or end it"
            raise CommandError(message)
        yield


def is_at_work(data: Path, work: str) -> bool:
    """Whether a process that lives is at it."""
    try:
        with (data / f"{work}.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
