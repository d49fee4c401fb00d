"""A disk of a few megabytes, for those who may mount one (root, where a container allows it)."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE = 2**20


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """Mount a disk of so many bytes at the folder; raise PermissionError where that is not allowed."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() != 0 or mount is None or umount is None:
        message = "only root may mount a small disk"
        raise PermissionError(message)
    command = [mount, "-t", "tmpfs", "-o", f"size={size}", "pulse", str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - as written above
    if done.returncode:
        raise PermissionError(done.stderr)
    try:
        yield folder
    finally:
        subprocess.run([umount, str(folder)], check=True)  # noqa: S603 - our own mount


def may_mount() -> bool:
    """Try it once."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with small_disk(Path(folder), PIECE):
                return True
        except PermissionError:
            return False


def fill_disk(folder: Path) -> Path:
    """Write a file until not one byte more goes, and give it."""
    ballast = folder / "ballast"
    piece = PIECE
    with ballast.open("ab", buffering=0) as file:
        while piece:
            try:
                file.write(bytes(piece))
            except OSError:
                piece //= 2
    return ballast
