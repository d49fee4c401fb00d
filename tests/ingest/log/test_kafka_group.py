"""Consumers that share a topic: they come, go, die, hang and come back, and never two hold one partition."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from ingest.log import LogUnavailableError, ShareLostError
from ingest.log.kafka_member import assign
from tests.ingest.log.makers import KafkaMaker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ingest.log.kafka import KafkaLog
    from ingest.log.kafka_group import KafkaGroup, KafkaShare
    from tests.servers.kafka import KafkaServer

SESSION = 6000  # milliseconds, where one is to end
LONG = 60.0
ALL = (0, 1, 2)


@pytest.fixture
def session_ms() -> int:
    """How long a consumer may be silent: so long that a busy machine does not matter."""
    return 60_000


@pytest.fixture
def topic(kafka_server: KafkaServer, session_ms: int) -> KafkaMaker:
    """A topic of its own."""
    return KafkaMaker(f"kafka://{kafka_server.address}", session_ms=session_ms)


@pytest.fixture
async def log(topic: KafkaMaker) -> AsyncIterator[KafkaLog]:
    """An empty log."""
    log = await topic.open()
    yield log
    await log.close()


short_session = pytest.mark.parametrize("session_ms", [SESSION])


class Process:
    """A consumer in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def do(self, line: str) -> str:
        """Say a line and hear the answer."""
        self.say(line)
        return await self.hear()

    def say(self, line: str) -> None:
        """Say a line; the answer may take its time."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())

    async def hear(self) -> str:
        """The answer to the oldest line that has none."""
        assert self._process.stdout is not None
        async with asyncio.timeout(LONG):
            return (await self._process.stdout.readline()).decode().strip()

    def send(self, number: signal.Signals) -> None:
        """Stop, continue or kill it."""
        os.kill(self._process.pid, number)


@asynccontextmanager
async def consumer(url: str, name: str) -> AsyncIterator[Process]:
    """A process that has joined, for a while."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.ingest.log.consumer_process",
        url,
        name,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield Process(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def ended(share: KafkaShare) -> None:
    """Wait until others wait for the share."""
    async with asyncio.timeout(LONG):
        await share.ended.wait()


async def pass_on(share: KafkaShare, group: KafkaGroup) -> KafkaShare:
    """Let a share go when it has ended and take the next one."""
    await ended(share)
    share.release()
    return await group.next_share()


@pytest.mark.parametrize(("members", "partitions"), [(1, 3), (2, 3), (3, 3), (4, 3), (5, 12)])
def test_partitions_are_dealt_out_by_name_whatever_the_ids(members: int, partitions: int) -> None:
    names = {f"id-{(number * 7) % 5}": f"consumer-{number}" for number in range(members)}
    dealt = assign(names, partitions)
    assert sorted(number for share in dealt.values() for number in share) == list(range(partitions))
    assert max(map(len, dealt.values())) - min(map(len, dealt.values())) <= 1
    by_name = {names[member]: list(share) for member, share in dealt.items()}
    again = {f"new {member}": name for member, name in reversed(names.items())}
    assert {again[member]: list(share) for member, share in assign(again, partitions).items()} == by_name


async def test_two_members_share_the_partitions_and_one_gets_all_when_the_other_leaves(
    log: KafkaLog, topic: KafkaMaker
) -> None:
    first = await log.join("one")
    share = await first.next_share()
    assert share.partitions == ALL
    other = await topic.open()
    second = await other.join("two")
    await ended(share)
    await share.commit(dict.fromkeys(ALL, 5))  # they are still its own
    share.release()
    share, others = await asyncio.gather(first.next_share(), second.next_share())
    assert (share.partitions, others.partitions) == ((0, 2), (1,))
    await others.commit({1: 6})
    with pytest.raises(ValueError, match=r"partitions \[0\] are not of this share"):
        await others.commit({0: 6})
    others.release()
    await second.leave()
    share = await pass_on(share, first)
    assert share.partitions == ALL
    assert [(await log.committed())[partition] for partition in ALL] == [5, 6, 5]
    await other.close()


async def take_turns(group: KafkaGroup, place: int, shares: dict[int, KafkaShare], changed: asyncio.Event) -> None:
    """Hold share after share, each until others wait for it."""
    while True:
        shares[place] = await group.next_share()
        changed.set()
        await shares[place].ended.wait()
        shares.pop(place).release()


async def test_a_member_may_have_nothing(log: KafkaLog, topic: KafkaMaker) -> None:
    logs = [log, *[await topic.open() for _ in range(3)]]
    shares: dict[int, KafkaShare] = {}
    changed = asyncio.Event()
    groups = [await one.join(f"member-{place}") for place, one in enumerate(logs)]
    members = [asyncio.create_task(take_turns(group, place, shares, changed)) for place, group in enumerate(groups)]
    async with asyncio.timeout(LONG):
        while len(shares) < 4 or sum(len(share.partitions) for share in shares.values()) != 3:  # until all have come
            changed.clear()
            await changed.wait()
    assert [shares[place].partitions for place in range(4)] == [(0,), (1,), (2,), ()]
    await shares[3].commit({})
    for member in members:
        member.cancel()
    for one in logs[1:]:
        await one.close()


@short_session
async def test_a_member_that_finishes_slowly_keeps_its_share_meanwhile(log: KafkaLog, topic: KafkaMaker) -> None:
    group = await log.join("one")
    share = await group.next_share()
    other = await topic.open()
    waiting = asyncio.create_task((await other.join("two")).next_share())
    await ended(share)
    await asyncio.sleep(1.5 * SESSION / 1000)  # an insert that outlasts the session
    await share.commit({0: 9})
    assert not waiting.done()
    share.release()
    assert (await waiting).partitions == (1,)
    await other.close()


async def test_a_member_that_comes_back_in_time_disturbs_nobody(log: KafkaLog, topic: KafkaMaker) -> None:
    group = await log.join("two")
    share = await group.next_share()
    other = await topic.open()
    second = await other.join("one")
    share = await pass_on(share, group)
    mine = (await second.next_share()).partitions
    assert (mine, share.partitions) == ((0, 2), (1,))
    await other.close()  # as when it is stopped, or dies: without a word
    again = await topic.open()
    assert (await (await again.join("one")).next_share()).partitions == mine
    await share.commit({1: 3})
    assert not share.ended.is_set()
    await again.close()


@short_session
async def test_a_killed_member_is_missed_when_its_session_ends(log: KafkaLog, topic: KafkaMaker) -> None:
    group = await log.join("one")
    share = await group.next_share()
    async with consumer(topic.url, "two") as process:
        process.say("share")
        share = await pass_on(share, group)
        assert (share.partitions, await process.hear()) == ((0, 2), "1")
        process.send(signal.SIGKILL)
        assert (await pass_on(share, group)).partitions == ALL


@short_session
async def test_a_zombie_commits_nothing_and_gets_a_new_share(log: KafkaLog, topic: KafkaMaker) -> None:
    group = await log.join("one")
    share = await group.next_share()
    async with consumer(topic.url, "two") as process:
        process.say("share")
        share = await pass_on(share, group)
        assert await process.hear() == "1"
        assert await process.do("commit 7") == "commit"
        process.send(signal.SIGSTOP)
        share = await pass_on(share, group)
        assert share.partitions == ALL
        await share.commit({1: 20})
        process.send(signal.SIGCONT)
        assert (await process.do("commit 8")).startswith("ShareLostError: the partitions belong to another")
        assert await process.do("ended") == "ended"
        assert await process.do("release") == "release"
        process.say("share")
        share = await pass_on(share, group)
        assert (share.partitions, await process.hear()) == ((0, 2), "1")
        assert (await log.committed())[1] == 20
        assert await process.do("commit 21") == "commit"
        assert (await log.committed())[1] == 21


async def test_the_second_of_a_name_takes_the_place_of_the_first(log: KafkaLog, topic: KafkaMaker) -> None:
    group = await log.join("one")
    share = await group.next_share()
    other = await topic.open()
    theirs = await (await other.join("one")).next_share()
    assert theirs.partitions == ALL
    await ended(share)
    with pytest.raises(ShareLostError):
        await share.commit({0: 1})
    share.release()
    for _ in range(2):
        with pytest.raises(ValueError, match=r"another process has joined the group pulse-log-.* as 'one'"):
            await group.next_share()
    await theirs.commit({0: 2})
    await other.close()


async def test_a_share_that_was_released_commits_nothing(log: KafkaLog) -> None:
    group = await log.join("one")
    share = await group.next_share()
    share.release()
    with pytest.raises(ShareLostError, match="released"):
        await share.commit({0: 1})
    await group.leave()
    with pytest.raises(LogUnavailableError, match="has left"):
        await group.next_share()


async def test_nobody_commits_for_a_group_that_has_members(log: KafkaLog) -> None:
    group = await log.join("one")
    share = await group.next_share()
    with pytest.raises(LogUnavailableError, match="has members; stop the consumers"):
        await log.commit({0: 1})
    share.release()
    await group.leave()
    await log.commit({0: 1})
    assert (await log.committed())[0] == 1


@pytest.mark.parametrize("name", ["", "a b", "ä", "x" * 201])
async def test_a_name_has_letters_that_kafka_takes(log: KafkaLog, name: str) -> None:
    with pytest.raises(ValueError, match="a consumer's name"):
        await log.join(name)


async def test_a_session_that_brokers_do_not_take_is_said(kafka_server: KafkaServer) -> None:
    log = await KafkaMaker(f"kafka://{kafka_server.address}", session_ms=1_800_000).open()
    with pytest.raises(ValueError, match="does not take 'one': INVALID_SESSION_TIMEOUT"):
        await (await log.join("one")).next_share()
    await log.close()


async def test_a_share_outlives_a_broker_that_restarts(kafka_server: KafkaServer) -> None:
    log = await KafkaMaker(f"kafka://{kafka_server.address}", session_ms=60_000, deadline_ms=3000).open()
    group = await log.join("one")
    share = await group.next_share()
    await asyncio.to_thread(kafka_server.stop)
    with pytest.raises(LogUnavailableError):
        await share.commit({0: 1})
    await asyncio.to_thread(kafka_server.start)
    committed = False
    while not committed:
        try:
            await share.commit({0: 2})
            committed = True
        except LogUnavailableError:
            await asyncio.sleep(0.05)
    assert not share.ended.is_set()
    assert (await log.committed())[0] == 2
    await log.close()
