"""An empty folder for each process to work in, which it holds by a lock and which goes when the process does.

The embedded engine would read a config.xml of the working directory, and every insert passes through a temporary file,
which a crash leaves behind. Whoever comes later wipes away the folders of processes that are dead, and only those.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.terminal import CommandError
from schemas.warehouse.errors import WarehouseDiskError
from schemas.warehouse.room import refuse_full_disk

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "run-"


@contextmanager
def working_in_private_folder(data: Path) -> Iterator[None]:
    """Work in a new empty folder inside `data` until the block ends, temporary files too."""
    prepare_data_folder(data)
    before = tempfile.tempdir
    with contextlib.ExitStack() as stack:
        with locked(data, fcntl.LOCK_EX):  # nobody sweeps between the making of a folder and its lock
            sweep(data)
            with telling_of(data):
                folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=data))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            stack.enter_context(locked(folder, fcntl.LOCK_EX))
        stack.enter_context(contextlib.chdir(folder))
        tempfile.tempdir = str(folder)
        try:
            yield
        finally:
            tempfile.tempdir = before


def prepare_data_folder(data: Path) -> None:
    """Make the data folder; raise CommandError where it cannot be made or its disk is full."""
    with telling_of(data):
        data.mkdir(parents=True, exist_ok=True)
    try:
        refuse_full_disk(data)
    except WarehouseDiskError as error:
        raise CommandError(str(error)) from error


@contextmanager
def telling_of(data: Path) -> Iterator[None]:
    """Raise CommandError where the data folder cannot be made or written."""
    try:
        yield
    except OSError as error:
        message = f"the data folder {data} cannot be used: {error.strerror}; set PULSE_DATA to another one"
        raise CommandError(message) from error


def sweep(data: Path) -> None:
    """Remove the folders that no living process holds; what another process removes meanwhile is gone, too."""
    for folder in data.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def locked(folder: Path, kind: int) -> Iterator[None]:
    """Hold a lock on the folder itself until the block or the process ends; raise BlockingIOError with LOCK_NB."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, kind)
        yield
    finally:
        os.close(descriptor)
