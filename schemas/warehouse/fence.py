"""Who may write rows of a log partition: the warehouse itself refuses everybody but the latest who took it over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

INSERT_TAG = "pulse-insert:"  # before the owner: the `log_comment` of every fenced insert, by which it can be stopped


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
