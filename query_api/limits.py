"""How much one key, and all of them together, may ask: windows that slide, requests at once, and a bounded queue.

Counted in this process, or in Redis for all query servers together. A Redis that does not answer holds nobody up for
longer than about half a second: this process counts by itself from zero and asks again every other second, one request
at a time. So while Redis is away each server allows a key its whole quota.
"""

from __future__ import annotations

import asyncio
import importlib.util
import math
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import structlog
from limits.aio.storage import MemoryStorage

from query_api.counts import Counts, Lane, MemoryPlaces, Quota
from query_api.errors import RateLimitedError, UnavailableError
from query_api.limits_errors import LimitsUnusableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from query_api.counts_redis import RedisCounts
    from query_api.plans import Plan

__all__ = ["Admission", "Lane", "Quota", "RequestLimits", "check_limits", "refuse_excess"]

Answer = TypeVar("Answer")
IN_MEMORY = "memory://"
ANSWER_SECONDS = 0.25
REST_SECONDS = 2.0
LOG_SECONDS = 60.0

log = structlog.get_logger()


class RequestLimits:
    """Counts the requests of each key."""

    def __init__(self, url: str) -> None:
        """`memory://` counts in this process, `redis://` and `rediss://` there; LimitsUnusableError for others."""
        self._near = Counts(MemoryStorage(), MemoryPlaces())
        self._far = None if url == IN_MEMORY else Far(_open_redis(url))

    async def take(self, key_id: int, plan: Plan) -> tuple[Quota, bool]:
        """Count a request: what is left of the tightest window, and whether the request may go on."""
        counted = None if self._far is None else await self._far.take(key_id, plan)
        return counted or await self._near.take(key_id, plan)

    @asynccontextmanager
    async def at_once(self, lane: Lane, key_id: int, plan: Plan) -> AsyncIterator[None]:
        """Hold one of the key's places while the request runs; RateLimitedError when all are taken.

        Streams have as many places of their own as questions have, so that open pages never keep questions out. A
        place is taken here as well as in Redis, so that this process knows its own while Redis is away.
        """
        near = _refuse_none(await self._near.places.enter(lane, key_id, plan.at_once), plan)
        try:
            if self._far is None:
                yield
                return
            far = _refuse_none(await self._far.enter(lane, key_id, plan.at_once), plan)
            try:
                yield
            finally:
                await self._far.leave(far)
        finally:
            await self._near.places.leave(near)

    async def close(self) -> None:
        """Let go of Redis."""
        if self._far is not None:
            await self._far.counts.close()


class Far:
    """Asks Redis, but does not wait for one that is away."""

    def __init__(self, counts: RedisCounts) -> None:
        self.counts = counts
        self._is_away = False
        self._ask_at = self._log_at = float("-inf")

    async def take(self, key_id: int, plan: Plan) -> tuple[Quota, bool] | None:
        """See `Counts.take`; None while Redis is away."""
        return await self._ask(lambda: self.counts.take(key_id, plan), None)

    async def enter(self, lane: Lane, key_id: int, limit: int) -> str | None:
        """See `Places.enter`; an empty ticket while Redis is away."""
        return await self._ask(lambda: self.counts.places.enter(lane, key_id, limit), "")

    async def leave(self, ticket: str) -> None:
        """See `Places.leave`."""
        if ticket:
            self.counts.forget(ticket)
            await self._ask(lambda: self.counts.places.leave(ticket), None)

    async def _ask(self, work: Callable[[], Awaitable[Answer]], otherwise: Answer) -> Answer:
        now = asyncio.get_running_loop().time()
        if self._is_away and now < self._ask_at:
            return otherwise
        self._ask_at = now + REST_SECONDS  # while it is away nobody else asks meanwhile
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await work()
        except self.counts.away as error:
            self._note_away(error)
            return otherwise
        if self._is_away:
            self._is_away = False
            log.info("limits_counted_in_redis_again")
        return answer

    def _note_away(self, error: Exception) -> None:
        now = asyncio.get_running_loop().time()
        self._is_away = True
        self._ask_at = now + REST_SECONDS
        if now >= self._log_at:
            self._log_at = now + LOG_SECONDS
            log.warning("limits_counted_here", problem=str(error) or type(error).__name__)


async def check_limits(url: str) -> None:
    """Raise LimitsUnusableError for a URL that cannot be used; for the start, before anything else is begun."""
    if url == IN_MEMORY:
        return
    counts = _open_redis(url)
    try:
        await counts.check()
    finally:
        await counts.close()


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


def _refuse_none(ticket: str | None, plan: Plan) -> str:
    if ticket is None:
        message = f"{plan.at_once} requests of this key are running already, as many as the plan allows at once"
        raise RateLimitedError.after(message, 1)
    return ticket


def _open_redis(url: str) -> RedisCounts:
    if importlib.util.find_spec("redis") is None:
        message = "the client of Redis is not installed: pip install 'pulse-analytics[redis]'"
        raise LimitsUnusableError(message)
    from query_api.counts_redis import RedisCounts  # noqa: PLC0415 - loads the client

    return RedisCounts(url)
