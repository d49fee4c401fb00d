"""How much of its budget the warehouse takes, and how often that is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.disk import CHECK_EVERY, USED, DiskBudget
from tests.ingest.consumer.rivers import make_line

if TYPE_CHECKING:
    from tests.ingest.consumer.rivers import River


async def test_a_budget_is_looked_at_now_and_then_and_after_the_clock_was_set_back(river: River) -> None:
    used = (await river.warehouse.query(USED)).to_pylist()[0]["used"]
    disk = DiskBudget(river.warehouse, river.folder, used + 1, river.clock)
    assert await disk.has_room()
    await river.append([make_line()])
    await river.consume()
    river.now += CHECK_EVERY - 1
    assert await disk.has_room()
    river.now -= 3_600_000
    assert not await disk.has_room()
