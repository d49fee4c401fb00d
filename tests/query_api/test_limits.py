"""What a key may ask in a minute, a day and at once, and what happens when everybody asks."""

from __future__ import annotations

import asyncio
import importlib.util
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from query_api.errors import RateLimitedError, UnavailableError
from query_api.limits import Admission, RequestLimits, check_limits, refuse_excess
from query_api.limits_errors import LimitsUnusableError
from query_api.plans import ENTERPRISE, FREE, PLANS, PRO, Plan, to_plan
from tests.servers.valkey import PASSWORD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.servers.valkey import ValkeyServer

MINUTE = 60
MEMORY, REDIS = "memory", "redis"
LEAP = """
for _, key in ipairs(redis.call('KEYS', '*')) do
    local left = redis.call('PTTL', key)
    if left >= 0 then redis.call('PEXPIRE', key, math.max(0, left - ARGV[1])) end
end
"""


class Clock:
    """Stands in for the time of the library that counts; lets as much pass in the server."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, server: ValkeyServer | None) -> None:
        self.now = 1_795_000_000.0
        self._server = server
        monkeypatch.setattr(time, "time", lambda: self.now)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        if self._server is not None:
            self._server.run_command("EVAL", LEAP, "0", str(int(seconds * 1000)))


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine must not look like a server that is away."""
    for module in ("limits", "counts_redis"):
        monkeypatch.setattr(f"query_api.{module}.ANSWER_SECONDS", 10)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, _patient: None) -> None:
    """The product's own patience again."""
    for module in ("limits", "counts_redis"):
        monkeypatch.setattr(f"query_api.{module}.ANSWER_SECONDS", 0.25)


@pytest.fixture(params=[MEMORY, REDIS])
def server(request: pytest.FixtureRequest) -> ValkeyServer | None:
    """An empty server, or None where requests are counted in the process."""
    if request.param == MEMORY:
        return None
    server: ValkeyServer = request.getfixturevalue("valkey")
    server.start()
    server.run_command("FLUSHALL")
    return server


@pytest.fixture
async def limits(server: ValkeyServer | None) -> AsyncIterator[RequestLimits]:
    limits = RequestLimits("memory://" if server is None else server.url())
    yield limits
    await limits.close()


@pytest.fixture
async def redis_limits(valkey: ValkeyServer) -> AsyncIterator[RequestLimits]:
    """Counted in an empty server."""
    valkey.start()
    valkey.run_command("FLUSHALL")
    limits = RequestLimits(valkey.url())
    yield limits
    await limits.close()
    valkey.start()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, server: ValkeyServer | None) -> Clock:
    return Clock(monkeypatch, server)


async def refuse_place(limits: RequestLimits, plan: Plan = PRO) -> RateLimitedError:
    """What is said when all places are taken."""

    async def enter() -> None:
        async with limits.at_once("query", 1, plan):
            pass

    with pytest.raises(RateLimitedError) as caught:
        await enter()
    return caught.value


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


async def test_the_hundred_and_first_request_of_a_minute_is_refused(clock: Clock, limits: RequestLimits) -> None:
    assert all(await take_all(limits, PRO, 100))
    quota, allowed = await limits.take(1, PRO)
    assert not allowed
    assert (quota.limit, quota.remaining) == (100, 0)
    assert quota.reset == clock.now + MINUTE
    assert refuse_excess(quota).headers == {"Retry-After": "60"}


async def test_the_minute_slides(clock: Clock, limits: RequestLimits) -> None:
    assert all(await take_all(limits, PRO, 50))
    clock.advance(40)
    assert all(await take_all(limits, PRO, 50))
    clock.advance(19)
    assert not (await limits.take(1, PRO))[1]
    clock.advance(2)  # the first fifty are out of the window
    assert all(await take_all(limits, PRO, 50))
    assert not (await limits.take(1, PRO))[1]


async def test_the_day_is_counted_too(clock: Clock, limits: RequestLimits) -> None:
    plan = Plan("small", None, 5, 5)
    assert all(await take_all(limits, plan, 5))
    clock.advance(2 * MINUTE)
    assert not (await limits.take(1, plan))[1]
    clock.advance(2 * 24 * 60 * MINUTE)
    assert (await limits.take(1, plan))[1]


async def test_the_tightest_window_is_told(limits: RequestLimits) -> None:
    quota, _ = await limits.take(1, Plan("x", 100, 5, 5))
    assert quota.to_headers()["X-RateLimit-Limit"] == "5"
    assert quota.to_headers()["X-RateLimit-Remaining"] == "4"
    quota, _ = await limits.take(2, FREE)
    assert (quota.limit, quota.remaining) == (60, 59)


async def test_a_plan_without_windows_tells_what_it_has_at_once(limits: RequestLimits) -> None:
    async with limits.at_once("query", 1, ENTERPRISE):
        quota, allowed = await limits.take(1, ENTERPRISE)
    assert allowed
    assert (quota.limit, quota.remaining) == (50, 48)


async def test_one_key_takes_nothing_from_another(limits: RequestLimits) -> None:
    await take_all(limits, PRO, 100, key=1)
    assert (await limits.take(2, PRO))[1]


async def test_requests_at_once_are_bounded_and_places_come_back(limits: RequestLimits) -> None:
    async with AsyncExitStack() as held:
        for _ in range(15):
            await held.enter_async_context(limits.at_once("query", 1, PRO))
        error = await refuse_place(limits)
        assert error.headers["Retry-After"] == "1"
        async with limits.at_once("query", 2, PRO), limits.at_once("stream", 1, PRO):
            pass  # another key, and streams of this one
    async with limits.at_once("query", 1, PRO):
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


SMALL = Plan("small", 5, None, 2)


async def test_servers_count_together(redis_limits: RequestLimits, valkey: ValkeyServer) -> None:
    other = RequestLimits(valkey.url())
    assert all(await take_all(redis_limits, SMALL, 3))
    assert await take_all(other, SMALL, 3) == [True, True, False]
    async with redis_limits.at_once("query", 1, SMALL), other.at_once("query", 1, SMALL):
        for limits in (redis_limits, other):
            await refuse_place(limits, SMALL)
    async with other.at_once("query", 1, SMALL), other.at_once("query", 1, SMALL):
        await refuse_place(redis_limits, SMALL)
    await other.close()


async def test_places_of_a_process_that_vanished_come_back(
    redis_limits: RequestLimits, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("query_api.counts_redis.LEASE_SECONDS", 1.5)
    vanished = RequestLimits(valkey.url())
    held = [vanished.at_once("query", 1, SMALL) for _ in range(2)]
    for place in held:
        await place.__aenter__()
    await refuse_place(redis_limits, SMALL)
    await asyncio.sleep(2)
    await refuse_place(redis_limits, SMALL)  # it is alive and renews
    await vanished.close()
    await until_free(redis_limits)
    for place in held:
        await place.__aexit__(None, None, None)
    await vanished.close()


async def test_a_place_outlives_a_restart_of_the_server(
    redis_limits: RequestLimits, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("query_api.counts_redis.LEASE_SECONDS", 2)
    monkeypatch.setattr("query_api.limits.REST_SECONDS", 0.05)
    other = RequestLimits(valkey.url())
    async with redis_limits.at_once("query", 1, SMALL), redis_limits.at_once("query", 1, SMALL):
        await asyncio.to_thread(valkey.restart)
        await asyncio.sleep(1.2)
        await refuse_place(other, SMALL)
    await other.close()


async def test_while_the_server_is_away_this_process_counts_by_itself(
    redis_limits: RequestLimits, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("query_api.limits.REST_SECONDS", 0.05)
    assert all(await take_all(redis_limits, SMALL, 4))
    with capture_logs() as logs:
        async with redis_limits.at_once("query", 1, SMALL):
            valkey.kill()
            assert await take_all(redis_limits, SMALL, 6) == [True] * 5 + [False]
            async with redis_limits.at_once("query", 1, SMALL):
                await refuse_place(redis_limits, SMALL)
        valkey.start()
        await asyncio.sleep(0.06)
        assert await take_all(redis_limits, SMALL, 6) == [True] * 5 + [False]  # it lost what it knew
        async with redis_limits.at_once("query", 1, SMALL), redis_limits.at_once("query", 1, SMALL):
            await refuse_place(redis_limits, SMALL)
    events = [line["event"] for line in logs]
    assert events.count("limits_counted_here") == 1
    assert events.count("limits_counted_in_redis_again") == 1


@pytest.mark.usefixtures("impatient")
async def test_a_server_that_does_not_answer_holds_nobody_up(
    valkey: ValkeyServer,
) -> None:
    valkey.start()
    limits = RequestLimits(valkey.url())
    assert all(await take_all(limits, PRO, 3))
    assert valkey.pid is not None
    valkey.pause()
    try:
        begun = asyncio.get_running_loop().time()
        answers = await asyncio.gather(*(limits.take(1, PRO) for _ in range(50)))
        for _ in range(20):
            async with limits.at_once("query", 1, PRO):
                answers.append(await limits.take(1, PRO))
        assert asyncio.get_running_loop().time() - begun < 5  # 20 turns of two that each waited would be 10
        assert all(allowed for _, allowed in answers)
    finally:
        valkey.resume()
    await limits.close()


async def until_free(limits: RequestLimits) -> None:
    """Wait until a place is free."""
    async with asyncio.timeout(20):
        while True:
            try:
                async with limits.at_once("query", 1, SMALL):
                    return
            except RateLimitedError:
                await asyncio.sleep(0.01)


SECRET = "hunter2"  # noqa: S105 - it must be in no message


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("rubbish", "memory://"),
        ("memcached://host", "redis://"),
        (f"redis://:{SECRET}@host:port/0", "%40"),
        (f"redis://:{SECRET}/x@host/0", "%2F"),
        (f"redis://user:6379?{SECRET}@host/0", "%3F"),
        (f"redis://user:6379#{SECRET}@host/0", "%23"),
        ("redis:///0", "redis://"),
        (f"redis://:{SECRET}@host/zero", "redis://"),
        (f"redis://:{SECRET}@host/0?ssl=1", "'ssl' is not known"),
        ("redis://host/0?password_file=/nowhere", "No such file"),
        (f"redis://:{SECRET}@127.0.0.1:1/0", "127.0.0.1:1 cannot be reached"),
        (f"redis://:{SECRET}@nowhere.invalid/0", "nowhere.invalid:6379 cannot be reached"),
    ],
)
async def test_what_names_no_place_to_count_is_refused_with_one_line(url: str, reason: str) -> None:
    assert reason in await refuse(url)


async def test_what_the_server_refuses_is_told(valkey: ValkeyServer) -> None:
    assert "refuses the password" in await refuse(f"redis://:{SECRET}@127.0.0.1:{valkey.port}/0")
    assert "refuses the password" in await refuse(f"redis://127.0.0.1:{valkey.port}/0")
    assert "refuses" in await refuse(valkey.url(999))
    await check_limits(valkey.url())
    await check_limits("memory://")


@pytest.mark.usefixtures("impatient")
async def test_a_server_without_tls_is_told(valkey: ValkeyServer) -> None:
    assert "cannot be reached" in await refuse(valkey.url().replace("redis://", "rediss://"))


async def test_the_password_may_stand_in_a_file(valkey: ValkeyServer, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    await check_limits(f"redis://127.0.0.1:{valkey.port}/0?password_file={tmp_path}/password")


async def test_a_missing_client_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "redis" else name)
    assert "pulse-analytics[redis]" in await refuse("redis://host/0")


async def refuse(url: str) -> str:
    """What is said of the URL: one line, the setting's name, never the password."""
    with pytest.raises(LimitsUnusableError) as caught:
        await check_limits(url)
    message = str(caught.value)
    assert message.startswith("PULSE_LIMITS_URL: ")
    assert "\n" not in message
    assert SECRET not in message
    assert PASSWORD not in message
    return message
