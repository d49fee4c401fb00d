"""What becomes of each prepared row: stored, a duplicate, a dead letter, or nothing since it is settled already.

Asked only when everything before the batch has landed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ingest.block_lines import BadLine, to_bad_lines
from ingest.duplicates import Duplicates, Sends, to_sends
from ingest.writer import Landing, to_month_numbers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ingest.dead_letters import DeadLetter, DeadLetters
    from ingest.gathering import Gathered
    from ingest.log import Record
    from ingest.preparing import Prepared
    from ingest.progress import Mark, Marks, MonthKey

BELOW = "it stands below the mark of its month, yet it is not stored"
Block = tuple[int, int]


class Judge:
    """Decides with the ids that are stored and the dead letters that there are."""

    def __init__(self, duplicates: Duplicates, dead_letters: DeadLetters) -> None:
        self._duplicates = duplicates
        self._dead_letters = dead_letters

    async def judge(self, gathered: Gathered, prepared: Prepared, marks: Marks | None) -> tuple[Landing, Sends]:
        """Give what must be written, and the ids among it; `marks` are those of a batch that was cut short, if one was.

        A row below the mark of its month has been written by that batch. If it is not stored (those have been taken
        out) it was a duplicate then and still is, maybe of a row in a partition that is another consumer's now; should
        it be none, it is kept as a dead letter rather than lost.
        """
        prepared, retried = await self._settle_retries(gathered, prepared)
        events = prepared.events
        sends, rows = to_sends(prepared.lines, events)
        duplicate = np.zeros(events.num_rows, np.bool_)
        duplicate[rows] = await self._duplicates.find(sends)
        erased, below = find_below(events, marks)
        unclear = (below & ~duplicate & ~erased)[rows]
        duplicate[rows[unclear]] = await self._duplicates.find_stored(sends.take(unclear))
        duplicate &= ~erased
        fresh = ~(duplicate | below | erased)
        lost = below & ~duplicate & ~erased
        bad = [*prepared.bad, *to_bad_lines(events.filter(pa.array(lost)), gathered.records, BELOW)]
        landing = Landing(
            gathered.begins,
            gathered.ends,
            gathered.is_known,
            events if fresh.all() else events.filter(pa.array(fresh)),
            events.filter(pa.array(duplicate)),
            bad,
            gathered.records,
            retried,
        )
        return landing, sends.take(fresh[rows])

    async def _settle_retries(
        self, gathered: Gathered, prepared: Prepared
    ) -> tuple[Prepared, Sequence[tuple[DeadLetter, Record]]]:
        """Leave out blocks that retry what another block has retried; what fails again counts where it first did."""
        blocks = [record for record in gathered.records if record.headers.retry_of is not None]
        if not blocks:
            return prepared, []
        letters = await self._dead_letters.find(
            [record.headers.retry_of for record in blocks if record.headers.retry_of is not None]
        )
        retried, repeated = sort_retries(blocks, letters)
        prepared = without_blocks(prepared, repeated)
        origins = {(block.partition, block.position): letter for letter, block in retried}
        bad = tuple(_counted_as(line, origins.get((line.partition, line.offset))) for line in prepared.bad)
        return replace(prepared, bad=bad), retried


def sort_retries(
    blocks: Sequence[Record], letters: Mapping[tuple[int, int, int], DeadLetter]
) -> tuple[Sequence[tuple[DeadLetter, Record]], set[Block]]:
    """Give each letter's one retry, and the blocks that come too late. A block of no known letter is neither."""
    retried: dict[tuple[int, int, int], tuple[DeadLetter, Record]] = {}
    repeated: set[Block] = set()
    for block in blocks:
        letter = letters.get(block.headers.retry_of or (-1, -1, -1))
        if letter is None:
            continue
        here = (block.partition, block.position)
        is_other = letter.retried and here != (letter.retry_partition, letter.retry_offset)
        if is_other or letter.position in retried:
            repeated.add(here)
        else:
            retried[letter.position] = (letter, block)
    return list(retried.values()), repeated


def without_blocks(prepared: Prepared, blocks: set[Block]) -> Prepared:
    """Leave out everything of these blocks."""
    if not blocks:
        return prepared
    columns = prepared.lines.select(["_partition", "_offset"]).to_pydict()
    kept = pa.array([block not in blocks for block in zip(*columns.values(), strict=True)], pa.bool_())
    bad = tuple(line for line in prepared.bad if (line.partition, line.offset) not in blocks)
    return replace(prepared, lines=prepared.lines.filter(kept), events=prepared.events.filter(kept), bad=bad)


def find_below(events: pa.Table, marks: Marks | None) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Say of each row whether it stands at or below the mark of deleted rows, and of landed rows, of its month."""
    none = np.zeros(events.num_rows, np.bool_)
    if marks is None:
        return none, none
    columns = events.select(["_partition", "_offset", "_place"]).to_pydict()
    places = list(zip(*columns.values(), to_month_numbers(events).tolist(), strict=True))
    return _are_below(places, marks.deleted), _are_below(places, marks.landed)


def _are_below(places: Sequence[tuple[int, int, int, int]], marks: Mapping[MonthKey, Mark]) -> NDArray[np.bool_]:
    lowest = (-1, -1)
    found = [(offset, place) <= marks.get((partition, month), lowest) for partition, offset, place, month in places]
    return np.array(found, np.bool_)


def _counted_as(line: BadLine, letter: DeadLetter | None) -> BadLine:
    if letter is None:
        return line
    return replace(line, site_id=letter.site_id, hour=letter.hour)
