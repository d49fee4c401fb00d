"""Event ids seen within the last hour of receipt, as sorted numbers in memory.

An id is looked for among those stored at most an hour (rounded up to five minutes of receipt) before the event that
asks. Both times are receipt times, so the answer depends on what is stored and not on when it is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ids: TypeAlias = NDArray[np.uint64]
    Times: TypeAlias = NDArray[np.int64]
    Mask: TypeAlias = NDArray[np.bool_]

HOUR = 3_600_000
SPAN = HOUR // 12
RUNS = 8
SITE_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def to_keys(site_ids: NDArray[np.int64], event_ids: Ids) -> Ids:
    """One number for site and event id. An event without id (0) must not be asked for."""
    return event_ids ^ (site_ids.astype(np.uint64) * SITE_FACTOR)


def to_span(received: Times) -> Times:
    """The five minutes of receipt that an epoch-millisecond time lies in."""
    return received // SPAN


def contains(runs: list[Ids], keys: Ids) -> Mask:
    """Which of the sorted `keys` are in one of the sorted runs."""
    found = np.zeros(len(keys), np.bool_)
    for run in runs:
        places = np.minimum(np.searchsorted(run, keys), len(run) - 1)
        found |= run[places] == keys
    return found


class LatelySeen:
    """Sorted runs of keys per five minutes of receipt, at most `capacity` keys; past it the oldest go first."""

    def __init__(self, capacity: int = 20_000_000) -> None:
        self._capacity = capacity
        self._spans: dict[int, list[Ids]] = {}
        self._size = 0
        self._forgotten = 0

    def __len__(self) -> int:
        return self._size

    @property
    def forgotten_until(self) -> int:
        """Ids received before this time (epoch ms) are not known any more."""
        return self._forgotten * SPAN

    def add(self, keys: Ids, received: Times) -> None:
        """Remember stored ids with their receipt times."""
        spans = to_span(received)
        for span in np.unique(spans):
            run = np.sort(keys[spans == span])
            runs = self._spans.setdefault(int(span), [])
            runs.append(run)
            self._size += len(run)
            if len(runs) > RUNS:
                runs[:] = [np.sort(np.concatenate(runs))]
        while self._size > self._capacity and len(self._spans) > 1:
            self._drop(min(self._spans))

    def find(self, keys: Ids, received: Times) -> Mask:
        """Say of each id whether it was stored within the hour before its receipt, or later."""
        order = np.argsort(keys)
        sorted_keys, lowest = keys[order], to_span(received[order] - HOUR)
        found = np.zeros(len(keys), np.bool_)
        for span, runs in self._spans.items():
            found |= contains(runs, sorted_keys) & (lowest <= span)
        answer = np.empty_like(found)
        answer[order] = found
        return answer

    def forget(self, received: int) -> None:
        """Let go of what no event received from this time (epoch ms) on may ask for."""
        lowest = (received - HOUR) // SPAN
        for span in [span for span in self._spans if span < lowest]:
            self._drop(span)

    def _drop(self, span: int) -> None:
        self._size -= sum(len(run) for run in self._spans.pop(span))
        self._forgotten = max(self._forgotten, span + 1)
