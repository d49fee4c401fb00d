"""One process a data folder for the parts that allow only one: whoever comes second is told who was first."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK = "serve.lock"


class FolderInUseError(Exception):
    """Another process serves this folder."""


@contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Hold the folder until the block ends or the process dies; raise FolderInUseError."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            message = f"{folder} is served by process {owner}: stop it, or set PULSE_DATA to another folder"
            raise FolderInUseError(message) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
