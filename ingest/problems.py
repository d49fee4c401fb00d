"""What a recount found that is not as it should be."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class Problem:
    """So many records of one `kind` that are not as they should be, the first of them by position.

    - `unreadable`: blocks that are damaged in the log; what became of their lines is not looked at
    - `receipts`: blocks whose receipts are not those of the header
    - `lines`: blocks that hold more or fewer lines than their header counts
    - `missing`: lines that are nowhere; so many `erased` records of that site and hour are gone on purpose
    - `doubled`: stored twice
    - `torn`: in two tables
    - `foreign`: rows at positions that the log does not hold
    """

    kind: str
    records: int
    examples: Sequence[str]
    site_id: int = 0
    hour: int = 0
    erased: int = 0


def add_up(problems: Iterable[Problem]) -> list[Problem]:
    """Problems of all pieces, added up by kind, site and hour; what is missing and was erased is none."""
    counts: Counter[tuple[str, int, int]] = Counter()
    examples: dict[tuple[str, int, int], list[str]] = {}
    erased: dict[tuple[str, int, int], int] = {}
    for one in problems:
        key = one.kind, one.site_id, one.hour
        counts[key] += one.records
        examples.setdefault(key, []).extend(one.examples)
        erased[key] = one.erased
    return [
        Problem(kind, count, examples[kind, site, hour][:EXAMPLES], site, hour, erased[kind, site, hour])
        for (kind, site, hour), count in sorted(counts.items())
        if count > erased[kind, site, hour]
    ]
