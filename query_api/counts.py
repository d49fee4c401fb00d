"""Counts requests in one place: windows that slide, and requests at once.

The windows are counted by the library `limits`: a minute is exact (every request's time is kept, at most as many as the
limit), a day is weighed from two counters, since 100,000 times a key would cost 10 MB.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerMinute
from limits.aio.strategies import MovingWindowRateLimiter, RateLimiter, SlidingWindowCounterRateLimiter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from limits.aio.storage import Storage

    from query_api.plans import Plan

Lane = Literal["query", "stream"]


@dataclass(frozen=True, slots=True)
class Quota:
    """What a key has left in its tightest window: of `limit` requests `remaining`, more at `reset` (epoch seconds)."""

    limit: int
    remaining: int
    reset: float

    def to_headers(self) -> dict[str, str]:
        """As API.md names them."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(math.ceil(self.reset)),
        }


@dataclass(frozen=True, slots=True)
class Window:
    """One limit of a plan and how it is counted."""

    item: RateLimitItem
    limiter: RateLimiter
    name: str


class Places(Protocol):
    """Requests that run at the same time, by lane and key."""

    async def enter(self, lane: Lane, key_id: int, limit: int) -> str | None:
        """Take a place and give the ticket to leave it with; None when all are taken."""

    async def leave(self, ticket: str) -> None:
        """Give the place back."""

    async def count(self, lane: Lane, key_id: int) -> int:
        """How many are taken."""


class Counts:
    """Counts the requests of each key in a storage and in places that belong together."""

    def __init__(self, storage: Storage, places: Places) -> None:
        self.places = places
        self._exact = MovingWindowRateLimiter(storage)
        self._weighed = SlidingWindowCounterRateLimiter(storage)

    async def take(self, key_id: int, plan: Plan) -> tuple[Quota, bool]:
        """Count a request: what is left of the tightest window, and whether the request may go on."""
        quotas = []
        for window in self._windows(plan):
            allowed = await window.limiter.hit(window.item, str(key_id))
            stats = await window.limiter.get_window_stats(window.item, str(key_id))
            quota = Quota(window.item.amount, max(0, stats.remaining), stats.reset_time)
            if not allowed:
                return quota, False
            quotas.append(quota)
        if quotas:
            return min(quotas, key=lambda quota: quota.remaining), True
        running = await self.places.count("query", key_id) + 1
        return Quota(plan.at_once, max(0, plan.at_once - running), time.time()), True

    def _windows(self, plan: Plan) -> Iterator[Window]:
        if plan.per_minute is not None:
            yield Window(RateLimitItemPerMinute(plan.per_minute), self._exact, "minute")
        if plan.per_day is not None:
            yield Window(RateLimitItemPerDay(plan.per_day), self._weighed, "day")


class MemoryPlaces:
    """The places of this process."""

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()

    async def enter(self, lane: Lane, key_id: int, limit: int) -> str | None:
        """See `Places`."""
        ticket = f"{lane}:{key_id}"
        if self._running[ticket] >= limit:
            return None
        self._running[ticket] += 1
        return ticket

    async def leave(self, ticket: str) -> None:
        """See `Places`."""
        self._running[ticket] -= 1
        if not self._running[ticket]:
            del self._running[ticket]

    async def count(self, lane: Lane, key_id: int) -> int:
        """See `Places`."""
        return self._running.get(f"{lane}:{key_id}", 0)
