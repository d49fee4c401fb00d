"""How much one key, and all of them together, may ask: windows that slide, requests at once, and a bounded queue.

The windows are counted by the library `limits`, which keeps its own clock (and will keep its counts in Redis): a
minute is exact (every request's time is kept, at most as many as the limit), a day is weighed from two counters, since
100,000 times a key would cost 10 MB. Taking and asking both: 20 µs a request (2026-11-21).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter, RateLimiter, SlidingWindowCounterRateLimiter

from query_api.errors import RateLimitedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

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


class RequestLimits:
    """Counts the requests of each key."""

    def __init__(self, url: str) -> None:
        """`memory://` counts in this process."""
        if url != "memory://":
            message = f"limits URL {url!r}: only memory:// is known"
            raise ValueError(message)
        storage = MemoryStorage()
        self._exact = MovingWindowRateLimiter(storage)
        self._weighed = SlidingWindowCounterRateLimiter(storage)
        self._running: Counter[tuple[Lane, int]] = Counter()

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
        running = self._running["query", key_id] + 1
        fallback = Quota(plan.at_once, max(0, plan.at_once - running), time.time())
        return min(quotas, key=lambda quota: quota.remaining, default=fallback), True

    @contextmanager
    def at_once(self, lane: Lane, key_id: int, plan: Plan) -> Iterator[None]:
        """Hold one of the key's places while the request runs; RateLimitedError when all are taken.

        Streams have as many places of their own as questions have, so that open pages never keep questions out.
        """
        if self._running[lane, key_id] >= plan.at_once:
            message = f"{plan.at_once} requests of this key are running already, as many as the plan allows at once"
            raise RateLimitedError.after(message, 1)
        self._running[lane, key_id] += 1
        try:
            yield
        finally:
            self._running[lane, key_id] -= 1
            if not self._running[lane, key_id]:
                del self._running[lane, key_id]

    def _windows(self, plan: Plan) -> Iterator[Window]:
        if plan.per_minute is not None:
            yield Window(RateLimitItemPerMinute(plan.per_minute), self._exact, "minute")
        if plan.per_day is not None:
            yield Window(RateLimitItemPerDay(plan.per_day), self._weighed, "day")


def refuse_excess(quota: Quota) -> RateLimitedError:
    """The error for a request over its quota."""
    seconds = max(1, math.ceil(quota.reset - time.time()))
    message = f"This key has used its {quota.limit} requests: the next one is possible in {seconds} s"
    return RateLimitedError.after(message, seconds)


class Admission:
    """At most `at_once` questions in the warehouse, at most `waiting` more in the queue; beyond that nobody waits."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._room = at_once + waiting
        self._inside = 0

    @asynccontextmanager
    async def enter(self) -> AsyncIterator[None]:
        """Wait for a place; UnavailableError when the queue is full."""
        if self._inside >= self._room:
            message = "Too many questions are waiting: try again in a second"
            raise UnavailableError.after(message, 1)
        self._inside += 1
        try:
            async with self._places:
                yield
        finally:
            self._inside -= 1
