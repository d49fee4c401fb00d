"""Whose inserts a takeover stops: everybody's who may still have one running, and nobody's who cannot."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from ingest.fences import take_over
from schemas.warehouse.errors import WarehouseError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.warehouse.client import Warehouse

LOG = 3
ANOTHER = 4


class Stops:
    """Takes down whose inserts are stopped; `fails` is how many of these requests fail."""

    def __init__(self, warehouse: Warehouse, patch: pytest.MonkeyPatch) -> None:
        self.asked: list[set[str]] = []
        self.fails = 0
        self._stop_inserts = warehouse.stop_inserts
        patch.setattr(warehouse, "stop_inserts", self.stop_inserts)

    async def stop_inserts(self, owners: Sequence[str]) -> None:
        """Pass it on."""
        self.asked.append({owner.partition("-")[0] for owner in owners})
        if self.fails:
            self.fails -= 1
            message = "away"
            raise WarehouseError(message)
        await self._stop_inserts(owners)


@pytest.fixture
def stops(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Stops:
    """What is stopped."""
    return Stops(warehouse, monkeypatch)


async def test_only_the_owner_before_is_stopped_however_many_there_were(warehouse: Warehouse, stops: Stops) -> None:
    for number in range(6):
        await take_over(warehouse, LOG, [0, 1], f"m{number}")
    assert stops.asked == [set(), {"m0"}, {"m1"}, {"m2"}, {"m3"}, {"m4"}]


async def test_who_was_not_stopped_to_the_end_is_stopped_by_the_next(warehouse: Warehouse, stops: Stops) -> None:
    await take_over(warehouse, LOG, [0, 1], "first")
    stops.fails = 2
    for member in ("second", "third"):
        with pytest.raises(WarehouseError):
            await take_over(warehouse, LOG, [0, 1], member)
    await take_over(warehouse, LOG, [0, 1], "fourth")
    assert stops.asked[-1] == {"first", "second", "third"}
    await take_over(warehouse, LOG, [0, 1], "fifth")
    assert stops.asked[-1] == {"fourth"}


async def test_partitions_have_owners_of_their_own(warehouse: Warehouse, stops: Stops) -> None:
    for member, log, partitions in [
        ("both", LOG, [0, 1]),
        ("zero", LOG, [0]),
        ("one", LOG, [1]),
        ("zeros", LOG, [0]),
        ("other", ANOTHER, [0, 1]),
    ]:
        await take_over(warehouse, log, partitions, member)
    assert stops.asked == [set(), {"both"}, {"both"}, {"zero"}, set()]
    await take_over(warehouse, LOG, [1, 0], "all")
    assert stops.asked[-1] == {"zeros", "one"}


async def test_of_several_at_once_whoever_may_write_is_stopped_by_somebody_later(
    warehouse: Warehouse, stops: Stops
) -> None:
    members = [f"m{number}" for number in range(5)]
    takeovers = (take_over(warehouse, LOG, [0, 1], member) for member in members)
    outcomes = await asyncio.gather(*takeovers, return_exceptions=True)
    await take_over(warehouse, LOG, [0, 1], "next")
    may_write = {
        member for member, outcome in zip(members, outcomes, strict=True) if not isinstance(outcome, BaseException)
    }
    assert may_write
    assert may_write <= set().union(*stops.asked)
