"""What every implementation of EventLog promises to those who consume it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.ingest.log.makers import PARTITIONS, make_headers

if TYPE_CHECKING:
    from ingest.log import EventLog
    from tests.ingest.log.makers import LogMaker

ALL = tuple(range(PARTITIONS))


async def test_one_consumer_gets_every_partition(event_log: EventLog) -> None:
    share = await (await event_log.join("one")).next_share()
    assert tuple(share.partitions) == ALL
    assert not share.ended.is_set()


async def test_what_a_share_commits_is_remembered(event_log: EventLog, maker: LogMaker) -> None:
    group = await event_log.join("one")
    share = await group.next_share()
    await event_log.append(1, make_headers(), b"a")
    await share.commit({0: 0, 1: 1})
    share.release()
    await group.leave()
    other = await maker.open()
    assert [(await other.committed())[partition] for partition in ALL] == [0, 1, 0]
    await other.close()


async def test_a_share_may_commit_nothing(event_log: EventLog) -> None:
    share = await (await event_log.join("one")).next_share()
    await share.commit({})


async def test_after_a_release_there_is_a_next_share(event_log: EventLog) -> None:
    group = await event_log.join("one")
    (await group.next_share()).release()
    share = await group.next_share()
    assert tuple(share.partitions) == ALL
    await share.commit({0: 0})


async def test_no_second_share_before_the_first_is_released(event_log: EventLog) -> None:
    group = await event_log.join("one")
    first = await group.next_share()
    waiting = asyncio.create_task(group.next_share())
    await first.commit({0: 0})
    assert not waiting.done()
    first.release()
    assert tuple((await waiting).partitions) == ALL


async def test_everything_is_free_again_for_whoever_joins_after_a_member_has_left(maker: LogMaker) -> None:
    for name in ("one", "other"):
        log = await maker.open()
        group = await log.join(name)
        share = await group.next_share()
        assert tuple(share.partitions) == ALL
        share.release()
        await group.leave()
        await log.close()


async def test_a_log_without_members_takes_a_commit(event_log: EventLog) -> None:
    group = await event_log.join("one")
    (await group.next_share()).release()
    await group.leave()
    await event_log.commit({0: 3})
    assert (await event_log.committed())[0] == 3


@pytest.mark.parametrize("is_released", [True, False])
async def test_close_ends_memberships(maker: LogMaker, is_released: bool) -> None:  # noqa: FBT001 - a case
    log = await maker.open()
    share = await (await log.join("one")).next_share()
    if is_released:
        share.release()
    await log.close()
