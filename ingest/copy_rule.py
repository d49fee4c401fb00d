"""Which rows of one event id are copies of another: a pure rule over rows that different consumers stored.

The earliest receipt stays, of equal ones the first by log position. So whoever decides, with however many of the rows
before him, never moves the first of all: one always stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ingest.duplicates import RESEND_WINDOW
from ingest.lately_seen import HOUR, SPAN

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date


class Stored(NamedTuple):
    """A row of `events`, in the order in which one stays before another. `received` in epoch milliseconds.

    `fresh`: nobody has looked for copies of it yet, so it may have landed beside one that its consumer could not see.
    """

    received: int
    log: int
    partition: int
    offset: int
    place: int
    local_date: date
    ingest: bool
    fresh: bool

    @property
    def position(self) -> tuple[int, int, int, int]:
        """Where it stands."""
        return self.log, self.partition, self.offset, self.place


def find_copies(rows: Iterable[Stored]) -> Sequence[Stored]:
    """Those of the rows with one site and event id that are copies of one that stays."""
    kept: list[Stored] = []
    copies = []
    for row in sorted(rows):
        if any(is_copy(earlier, row) for earlier in kept):
            copies.append(row)
        else:
            kept.append(row)
    return copies


def is_copy(earlier: Stored, later: Stored) -> bool:
    """Whether the later row should have been a duplicate of the earlier one, had its consumer seen that.

    Always within an hour (as `lately_seen` rounds it) and with an ingest key. What says `attempt` >= 2 counts once
    within 48 hours; rows do not keep that word, so two of different partitions that landed beside each other are taken
    for a resend: an id is unique.
    """
    if later.ingest or earlier.received // SPAN >= (later.received - HOUR) // SPAN:
        return True
    raced = earlier.fresh and later.fresh and (earlier.log, earlier.partition) != (later.log, later.partition)
    return raced and earlier.received >= later.received - RESEND_WINDOW
