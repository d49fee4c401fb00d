"""What a key may ask in a minute, a day and at once, and what happens when everybody asks."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack

import pytest

from query_api.errors import RateLimitedError, UnavailableError
from query_api.limits import Admission, RequestLimits, refuse_excess
from query_api.plans import ENTERPRISE, FREE, PLANS, PRO, Plan, to_plan

MINUTE = 60


class Clock:
    """Stands in for the time of the library that counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_795_000_000.0
        monkeypatch.setattr(time, "time", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def take_all(limits: RequestLimits, plan: Plan, times: int, key: int = 1) -> list[bool]:
    return [(await limits.take(key, plan))[1] for _ in range(times)]


def test_plans_are_those_of_the_contract() -> None:
    assert [(p.name, p.per_minute, p.per_day, p.at_once, p.has_api) for p in PLANS.values()] == [
        ("free", 60, 10_000, 5, False),
        ("pro", 100, 100_000, 15, True),
        ("enterprise", None, None, 50, True),
    ]
    assert to_plan("pro", 1, 1) is PRO
    assert to_plan("enterprise", 7, None) == Plan("enterprise", 7, None, 50)


async def test_the_hundred_and_first_request_of_a_minute_is_refused(clock: Clock) -> None:
    limits = RequestLimits("memory://")
    assert all(await take_all(limits, PRO, 100))
    quota, allowed = await limits.take(1, PRO)
    assert not allowed
    assert (quota.limit, quota.remaining) == (100, 0)
    assert quota.reset == clock.now + MINUTE
    assert refuse_excess(quota).headers == {"Retry-After": "60"}


async def test_the_minute_slides(clock: Clock) -> None:
    limits = RequestLimits("memory://")
    assert all(await take_all(limits, PRO, 50))
    clock.now += 40
    assert all(await take_all(limits, PRO, 50))
    clock.now += 19
    assert not (await limits.take(1, PRO))[1]
    clock.now += 2  # the first fifty are out of the window
    assert all(await take_all(limits, PRO, 50))
    assert not (await limits.take(1, PRO))[1]


async def test_the_day_is_counted_too(clock: Clock) -> None:
    plan = Plan("small", None, 5, 5)
    limits = RequestLimits("memory://")
    assert all(await take_all(limits, plan, 5))
    clock.now += 2 * MINUTE
    assert not (await limits.take(1, plan))[1]
    clock.now += 2 * 24 * 60 * MINUTE
    assert (await limits.take(1, plan))[1]


async def test_the_tightest_window_is_told() -> None:
    quota, _ = await RequestLimits("memory://").take(1, Plan("x", 100, 5, 5))
    assert quota.to_headers()["X-RateLimit-Limit"] == "5"
    assert quota.to_headers()["X-RateLimit-Remaining"] == "4"
    quota, _ = await RequestLimits("memory://").take(1, FREE)
    assert (quota.limit, quota.remaining) == (60, 59)


async def test_a_plan_without_windows_tells_what_it_has_at_once() -> None:
    limits = RequestLimits("memory://")
    with limits.at_once("query", 1, ENTERPRISE):
        quota, allowed = await limits.take(1, ENTERPRISE)
    assert allowed
    assert (quota.limit, quota.remaining) == (50, 48)


async def test_one_key_takes_nothing_from_another() -> None:
    limits = RequestLimits("memory://")
    await take_all(limits, PRO, 100, key=1)
    assert (await limits.take(2, PRO))[1]


def test_requests_at_once_are_bounded_and_places_come_back() -> None:
    limits = RequestLimits("memory://")
    with ExitStack() as held:
        for _ in range(15):
            held.enter_context(limits.at_once("query", 1, PRO))
        with pytest.raises(RateLimitedError) as caught, limits.at_once("query", 1, PRO):
            pass
        assert caught.value.headers["Retry-After"] == "1"
        with limits.at_once("query", 2, PRO), limits.at_once("stream", 1, PRO):
            pass  # another key, and streams of this one
    with limits.at_once("query", 1, PRO):
        pass


async def test_questions_beyond_the_queue_are_turned_away() -> None:
    admission = Admission(at_once=2, waiting=1)
    release, inside = asyncio.Event(), 0

    async def work() -> None:
        nonlocal inside
        async with admission.enter():
            inside += 1
            await release.wait()

    tasks = [asyncio.create_task(work()) for _ in range(3)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert inside == 2
    with pytest.raises(UnavailableError):
        await work()
    release.set()
    await asyncio.gather(*tasks)
    await work()
    assert inside == 4


def test_an_unknown_place_to_count_is_refused() -> None:
    with pytest.raises(ValueError, match="only memory"):
        RequestLimits("redis://localhost")
