"""Who may write rows of a log partition: the warehouse itself refuses everybody but the latest who took it over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

INSERT_TAG = "pulse-insert:"  # before the owner: the `log_comment` of every fenced insert, by which it can be stopped
FENCED = "fenced"  # what an insert that is refused throws

# Counted once, after the insert has been registered in system.processes and before its first row: an insert is either
# seen there by whoever takes over, or it begins later and sees the new fence.
IS_FENCED = """
throwIf((
    SELECT count() FROM {table}
    WHERE _log = {{fence_log:UInt16}} AND has({{fence_partitions:Array(UInt16)}}, _partition)
        AND (epoch, owner) > (
            {{fence_epochs:Array(UInt64)}}[indexOf({{fence_partitions:Array(UInt16)}}, _partition)],
            {{fence_owner:String}})
) > 0, '{fenced}')
"""


@dataclass(frozen=True, slots=True)
class Fence:
    """`owner` took over partitions of `log` (its number), each at an epoch of its own.

    An insert with a fence lands wholly or, once the table `fences` holds a higher (epoch, owner) for any of
    `epochs`, not at all.
    """

    log: int
    owner: str
    epochs: Mapping[int, int]

    @property
    def tag(self) -> str:
        """What its inserts are called in `system.processes`."""
        return INSERT_TAG + self.owner

    def to_parameters(self) -> dict[str, object]:
        """As the parameters of `IS_FENCED`."""
        return {
            "fence_log": self.log,
            "fence_partitions": list(self.epochs),
            "fence_epochs": list(self.epochs.values()),
            "fence_owner": self.owner,
        }


def to_condition(table: str) -> str:
    """SQL that throws when the table of fences holds a higher one; else 0."""
    return IS_FENCED.format(table=table, fenced=FENCED)
