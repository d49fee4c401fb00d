"""Taking over log partitions: afterwards nothing of any earlier owner can land, and all that did is there to be read.

1. Write (log, partition, epoch = highest + 1, owner) into `fences` and read back that it is the highest.
2. Stop the inserts of every earlier owner and wait until none runs.
3. Only then may the marks be read.

An insert of an earlier owner was either running at step 2 (it was stopped, or has finished and is seen at step 3), or
it begins later and the warehouse refuses it, since every insert looks at `fences` before its first row. Who does not
know what became of an insert of its own takes over again, from itself.

So an owner that somebody has been through with is past for ever. After step 2 that is written down, as a row of the
same epoch without an owner: nobody of an earlier epoch has to be stopped again, and step 2 is about the owner before,
however many there were.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pyarrow as pa

from schemas.warehouse.errors import WarehouseFencedError
from schemas.warehouse.fence import Fence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.warehouse.client import Warehouse

NOBODY = ""  # stands where an epoch is settled: no insert of an earlier one runs or will ever land
HIGHEST = """
SELECT _partition, highest.1 AS epoch, highest.2 AS owner
FROM
(
    SELECT _partition, max((epoch, owner)) AS highest FROM fences
    WHERE _log = {log:UInt16} AND _partition IN {partitions:Array(UInt16)} GROUP BY _partition
)
"""
SETTLED = """
SELECT _partition, max(epoch) AS settled FROM fences
WHERE _log = {log:UInt16} AND _partition IN {partitions:Array(UInt16)} AND owner = '' GROUP BY _partition
"""
OWNERS = """
SELECT DISTINCT owner FROM fences
WHERE _log = {log:UInt16} AND _partition IN {partitions:Array(UInt16)} AND owner NOT IN ('', {owner:String})
    AND epoch >= {settled:Array(UInt64)}[indexOf({partitions:Array(UInt16)}, _partition)]
"""


async def take_over(warehouse: Warehouse, number: int, partitions: Sequence[int], member: str) -> Fence:
    """Fence off everybody before and give the fence to write with; `member` only makes its owner recognisable.

    Raise WarehouseFencedError when somebody else took over at the same time and is the higher one; WarehouseError.
    """
    owner = f"{member}-{uuid.uuid4().hex}"
    highest = await read_highest(warehouse, number, partitions)
    epochs = {partition: highest.get(partition, (0, ""))[0] + 1 for partition in partitions}
    await warehouse.insert("fences", to_rows(number, epochs, owner))
    refuse_lower(await read_highest(warehouse, number, partitions), epochs, owner)
    await warehouse.stop_inserts(await read_earlier(warehouse, number, partitions, owner))
    await warehouse.insert("fences", to_rows(number, epochs, NOBODY))
    return Fence(number, owner, epochs)


async def read_highest(warehouse: Warehouse, number: int, partitions: Sequence[int]) -> dict[int, tuple[int, str]]:
    """The latest (epoch, owner) of each partition that anybody has ever taken over."""
    rows = (await warehouse.query(HIGHEST, {"log": number, "partitions": list(partitions)})).to_pylist()
    return {row["_partition"]: (row["epoch"], row["owner"]) for row in rows}


async def read_earlier(warehouse: Warehouse, number: int, partitions: Sequence[int], owner: str) -> list[str]:
    """Who has ever taken over one of the partitions but this owner, and may still have an insert running."""
    parameters = {"log": number, "partitions": list(partitions)}
    rows = (await warehouse.query(SETTLED, parameters)).to_pylist()
    settled = {row["_partition"]: row["settled"] for row in rows}
    asked = {**parameters, "owner": owner, "settled": [settled.get(partition, 0) for partition in partitions]}
    return [str(earlier) for earlier in (await warehouse.query(OWNERS, asked)).column("owner").to_pylist()]


def refuse_lower(highest: dict[int, tuple[int, str]], epochs: dict[int, int], owner: str) -> None:
    """Raise WarehouseFencedError unless the owner is the highest of every partition."""
    lost = [partition for partition, epoch in epochs.items() if highest.get(partition) != (epoch, owner)]
    if lost:
        message = f"somebody else took over partitions {lost} at the same time"
        raise WarehouseFencedError(message)


def to_rows(number: int, epochs: dict[int, int], owner: str) -> pa.Table:
    """Rows of `fences`."""
    count = len(epochs)
    columns = {
        "_log": pa.array([number] * count, pa.uint16()),
        "_partition": pa.array(list(epochs), pa.uint16()),
        "epoch": pa.array(list(epochs.values()), pa.uint64()),
        "owner": pa.array([owner] * count),
    }
    return pa.table(columns)
