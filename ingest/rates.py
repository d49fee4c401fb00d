"""How many records a second one sender may send: the generic cell rate algorithm, one number a sender."""

from __future__ import annotations

from math import ceil
from typing import Generic, TypeVar

HORIZON = 10_000  # milliseconds' worth that may come at once
HALF = 0.5
MAX_SENDERS = 50_000  # a generation; two are kept, about 10 MB when both are full

Key = TypeVar("Key", str, int)


class Rates(Generic[Key]):
    """Allows `per_second` on average and ten times that at once; 0 is no limit.

    After ten seconds of silence a sender has its whole burst again, so two generations of ten seconds are all that
    must be remembered. More than `MAX_SENDERS` in ten seconds make it forget early, and a clock that was set back makes
    it forget all: it lets through, never refuses more than it should.
    """

    def __init__(self, per_second: int) -> None:
        self._cost = 1000 / per_second if per_second else 0.0  # milliseconds of the sender's time a record takes
        self._busy_until: dict[Key, float] = {}
        self._before: dict[Key, float] = {}
        self._turned = 0

    def wait_for(self, sender: Key, records: int, now: int) -> int:
        """Take `records` and return 0, or take nothing and return the milliseconds (at least 1) to come back after.

        A request of more than a burst passes when the burst is whole, and is paid off afterwards.
        """
        if not self._cost:
            return 0
        if not self._turned <= now < self._turned + HORIZON or len(self._busy_until) >= MAX_SENDERS:
            self._turn(now)
        start, late = self._reckon(sender, records, now)
        if not late:
            self._busy_until[sender] = start + records * self._cost
        return late

    def _reckon(self, sender: Key, records: int, now: int) -> tuple[float, int]:
        start = max(self._busy_until.get(sender) or self._before.get(sender, 0.0), now)
        late = start + min(records * self._cost, HORIZON) - now - HORIZON
        # Half a millisecond is rounding, not a record.
        return start, max(0, ceil(late - HALF))

    def _turn(self, now: int) -> None:
        if now < self._turned:
            self._busy_until.clear()
        # A sender in debt past the horizon would be forgiven with its generation: carry those over.
        owing = {sender: until for sender, until in self._busy_until.items() if until > now + HORIZON}
        self._before, self._busy_until = self._busy_until, owing if len(owing) < MAX_SENDERS else {}
        self._turned = now
