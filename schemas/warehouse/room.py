"""The room that stays free on the disk of the data. Light: it is asked before anything heavy is loaded."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from schemas.warehouse.errors import WarehouseDiskError

if TYPE_CHECKING:
    from pathlib import Path

KEPT_FREE = 64 * 1024**2  # bytes of the disk that nothing is begun in


def refuse_full_disk(folder: Path) -> None:
    """Raise WarehouseDiskError when the disk of the folder has no room that may be used."""
    free = shutil.disk_usage(folder).free
    if free < KEPT_FREE:
        message = f"the disk of {folder} has {free >> 20} MiB free; {KEPT_FREE >> 20} MiB must stay free: make room"
        raise WarehouseDiskError(message)
