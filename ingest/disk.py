"""How much of its disk budget the warehouse takes."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from schemas.warehouse.client import Warehouse

CHECK_EVERY = 2_000  # milliseconds
KEPT_FREE = 1024**3
USED = "SELECT sum(bytes_on_disk) AS used FROM system.parts WHERE database = currentDatabase()"


class DiskBudget:
    """Says whether there is room for another batch; `budget` 0 is all of the disk of `folder` but 1 GiB."""

    def __init__(self, warehouse: Warehouse, folder: Path, budget: int, clock: Callable[[], int]) -> None:
        self._warehouse = warehouse
        self._folder = folder
        self._budget = budget
        self._clock = clock
        self._looked = 0
        self._has_room = True

    async def has_room(self) -> bool:
        """Look at most every two seconds while there is room; raise WarehouseError when it cannot be told."""
        if not self._has_room or not self._looked <= self._clock() < self._looked + CHECK_EVERY:
            self._has_room = await self._look()
            self._looked = self._clock()
        return self._has_room

    async def _look(self) -> bool:
        if not self._budget:
            # A server refuses inserts when its own disk is full, and they wait.
            return self._warehouse.is_shared or shutil.disk_usage(self._folder).free > KEPT_FREE
        rows = (await self._warehouse.query(USED)).to_pylist()
        return int(rows[0]["used"]) < self._budget
