"""What every implementation of EventLog promises."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from ingest.log import DEAD, Bounds, LogDamagedError, LogUnavailableError
from tests.ingest.log.makers import PARTITIONS, make_headers

if TYPE_CHECKING:
    from ingest.log import EventLog
    from tests.ingest.log.makers import LogMaker

LONG = 30.0  # seconds that no test waits for
MEGABYTE = 2**20
EVERY = (*range(PARTITIONS), DEAD)


async def fill(log: EventLog, partition: int, *bodies: bytes) -> list[int]:
    """Append the bodies one after the other."""
    return [await log.append(partition, make_headers(), body) for body in bodies]


async def bodies(log: EventLog, partition: int, position: int = 0) -> list[bytes]:
    """Everything that a partition holds from there on."""
    found: list[bytes] = []
    while records := await log.read(partition, position + len(found), MEGABYTE):
        assert [record.position for record in records] == list(
            range(position + len(found), position + len(found) + len(records))
        )
        found += [record.body for record in records]
    return found


@pytest.mark.parametrize("partition", EVERY)
async def test_an_empty_partition_stands_at_zero(event_log: EventLog, partition: int) -> None:
    assert await event_log.bounds(partition) == Bounds(0, 0)
    assert await event_log.read(partition, 0, MEGABYTE) == []
    assert await event_log.read_headers(partition, 0) == []


@pytest.mark.parametrize("partition", EVERY)
async def test_positions_of_a_partition_count_from_zero(event_log: EventLog, partition: int) -> None:
    assert await fill(event_log, partition, b"a", b"b", b"c") == [0, 1, 2]
    assert await event_log.bounds(partition) == Bounds(0, 3)


async def test_partitions_do_not_mix(event_log: EventLog) -> None:
    for partition in EVERY:
        await fill(event_log, partition, b"%d" % partition)
    assert [await bodies(event_log, partition) for partition in EVERY] == [[b"%d" % partition] for partition in EVERY]


@pytest.mark.parametrize("body", [b"", b"\n", b"\x00\xff\xfe", '{"url":"ü€😀"}\n'.encode(), bytes(256 * 1024)])
async def test_a_block_is_read_as_it_was_written(event_log: EventLog, body: bytes) -> None:
    headers = make_headers(lines=7, reason="hostname")
    await event_log.append(1, headers, body)
    (record,) = await event_log.read(1, 0, MEGABYTE)
    assert (record.partition, record.position, record.headers, record.body) == (1, 0, headers, body)


@pytest.mark.parametrize(("max_bytes", "count"), [(0, 1), (9, 1), (10, 1), (19, 1), (20, 2), (29, 2), (30, 3), (99, 3)])
async def test_a_read_gives_as_much_as_asked_but_at_least_one(event_log: EventLog, max_bytes: int, count: int) -> None:
    await fill(event_log, 0, b"0" * 10, b"1" * 10, b"2" * 10)
    assert len(await event_log.read(0, 0, max_bytes)) == count


async def test_a_read_starts_at_its_position(event_log: EventLog) -> None:
    await fill(event_log, 0, b"a", b"b", b"c")
    assert await bodies(event_log, 0, 1) == [b"b", b"c"]
    assert await event_log.read(0, 3, MEGABYTE) == []


@pytest.mark.parametrize("position", [-1, 3, 1000])
async def test_a_position_outside_the_bounds_is_damage(event_log: EventLog, position: int) -> None:
    await fill(event_log, 0, b"a", b"b")
    with pytest.raises(LogDamagedError, match="position"):
        await event_log.read(0, position, MEGABYTE)
    with pytest.raises(LogDamagedError, match="position"):
        await event_log.read_headers(0, position)


@pytest.mark.parametrize("partition", [-1, PARTITIONS, DEAD - 1, DEAD + 1])
async def test_a_partition_that_is_not_there_is_a_mistake(event_log: EventLog, partition: int) -> None:
    with pytest.raises(ValueError, match="partitions"):
        await event_log.append(partition, make_headers(), b"a")
    with pytest.raises(ValueError, match="partitions"):
        await event_log.read(partition, 0, MEGABYTE)


async def test_headers_are_read_without_bodies(event_log: EventLog) -> None:
    headers = [make_headers(lines) for lines in (1, 2, 3)]
    for header in headers:
        await event_log.append(2, header, b"x" * 1000)
    assert await event_log.read_headers(2, 1) == [(1, headers[1]), (2, headers[2])]


async def test_many_appends_at_once_get_a_position_each(event_log: EventLog) -> None:
    async def append(partition: int, number: int) -> tuple[int, int, bytes]:
        body = b"%d-%d" % (partition, number)
        return partition, await event_log.append(partition, make_headers(), body), body

    appended = await asyncio.gather(*(append(partition, number) for partition in EVERY for number in range(300)))
    for partition in EVERY:
        here = sorted((position, body) for where, position, body in appended if where == partition)
        assert [position for position, _ in here] == list(range(300))
        assert await bodies(event_log, partition) == [body for _, body in here]


async def test_a_cancelled_append_harms_no_other(event_log: EventLog) -> None:
    tasks = [asyncio.create_task(event_log.append(0, make_headers(), b"%d" % number)) for number in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    positions = [outcome for outcome in outcomes[1::2] if isinstance(outcome, int)]
    assert len(positions) == 10
    stored = await bodies(event_log, 0)
    assert [stored[position] for position in positions] == [b"%d" % number for number in range(1, 20, 2)]
    assert len(stored) == len(set(stored))


async def test_everything_is_there_after_reopening(maker: LogMaker) -> None:
    log = await maker.open()
    await fill(log, 0, b"a", b"b")
    await fill(log, DEAD, b"d")
    await log.commit({0: 1})
    identity = log.identity
    await log.close()
    log = await maker.open()
    assert (log.identity, log.partitions) == (identity, PARTITIONS)
    assert (await bodies(log, 0), await bodies(log, DEAD)) == ([b"a", b"b"], [b"d"])
    assert (await log.committed())[0] == 1
    assert await fill(log, 0, b"c") == [2]
    await log.close()


async def test_another_log_has_another_identity(event_log: EventLog, maker: LogMaker) -> None:
    other = await maker.another().open()
    assert other.identity != event_log.identity
    await other.close()


async def test_committed_is_zero_where_nothing_was(event_log: EventLog) -> None:
    assert {partition: (await event_log.committed())[partition] for partition in EVERY} == dict.fromkeys(EVERY, 0)


async def test_commit_remembers_the_partitions_that_it_names(event_log: EventLog) -> None:
    await event_log.commit({0: 5, 2: 7})
    await event_log.commit({0: 6})
    committed = await event_log.committed()
    assert [committed[partition] for partition in range(3)] == [6, 0, 7]


async def test_a_commit_may_go_back(event_log: EventLog) -> None:
    await event_log.commit({0: 5})
    await event_log.commit({0: 3})
    assert (await event_log.committed())[0] == 3


async def test_trim_keeps_what_comes_after(event_log: EventLog) -> None:
    await fill(event_log, 0, b"a", b"b", b"c")
    await event_log.trim(0, 2)
    assert await bodies(event_log, 0, 2) == [b"c"]
    assert (await event_log.bounds(0)).end == 3


@pytest.mark.parametrize("partition", EVERY)
async def test_a_position_is_never_used_twice(maker: LogMaker, partition: int) -> None:
    log = await maker.open()
    await fill(log, partition, b"a", b"b")
    await log.trim(partition, 2)
    await log.close()
    log = await maker.open()
    assert (await log.bounds(partition)).end == 2
    assert await fill(log, partition, b"c") == [2]
    await log.close()


async def test_wait_sees_at_once_what_is_there(event_log: EventLog) -> None:
    await fill(event_log, 1, b"a")
    assert await event_log.wait({0: 0, 1: 0}, LONG)


@pytest.mark.parametrize("positions", [{0: 0}, {0: 1, 1: 1}, {}])
async def test_wait_says_when_nothing_came(event_log: EventLog, positions: dict[int, int]) -> None:
    await fill(event_log, 1, b"a")
    assert not await event_log.wait(positions, 0.01)


async def test_all_who_wait_are_woken_by_an_append(event_log: EventLog) -> None:
    waiting = [asyncio.create_task(event_log.wait({0: 0, 1: 0}, LONG)) for _ in range(3)]
    other = asyncio.create_task(event_log.wait({2: 0}, LONG))
    await event_log.ping()
    await fill(event_log, 1, b"a")
    assert await asyncio.gather(*waiting) == [True, True, True]
    assert not other.done()
    await fill(event_log, 2, b"a")
    assert await other


async def test_wait_knows_what_was_there_before_it_was_opened(maker: LogMaker) -> None:
    log = await maker.open()
    await fill(log, 0, b"a")
    await log.close()
    log = await maker.open()
    assert await log.wait({0: 0}, LONG)
    await log.close()


async def test_wait_sees_what_another_has_appended(event_log: EventLog, maker: LogMaker) -> None:
    waiting = asyncio.create_task(event_log.wait({0: 0}, LONG))
    other = await maker.open()
    await fill(other, 0, b"from elsewhere")
    assert await waiting
    assert await bodies(event_log, 0) == [b"from elsewhere"]
    await other.close()


async def test_two_who_append_share_the_positions(event_log: EventLog, maker: LogMaker) -> None:
    other = await maker.open()
    logs = {b"one": event_log, b"other": other}
    await asyncio.gather(
        *(log.append(0, make_headers(), name + b"%d" % number) for number in range(50) for name, log in logs.items())
    )
    assert len(set(await bodies(event_log, 0))) == 100
    await other.close()


async def test_a_sound_log_answers_a_ping(event_log: EventLog) -> None:
    await event_log.ping()


async def test_close_finishes_what_waits(maker: LogMaker) -> None:
    log = await maker.open()
    tasks = [asyncio.create_task(log.append(0, make_headers(), b"%d" % number)) for number in range(50)]
    await asyncio.sleep(0)
    await log.close()
    assert sorted(await asyncio.gather(*tasks)) == list(range(50))
    log = await maker.open()
    assert len(await bodies(log, 0)) == 50
    await log.close()


async def test_a_closed_log_takes_and_gives_nothing(maker: LogMaker) -> None:
    log = await maker.open()
    await log.close()
    for use in (log.append(0, make_headers(), b"a"), log.read(0, 0, 1), log.ping(), log.commit({0: 0})):
        with pytest.raises(LogUnavailableError, match="closed"):
            await use


async def test_closing_twice_is_closing_once(maker: LogMaker) -> None:
    log = await maker.open()
    await log.close()
    await log.close()


async def test_close_wakes_those_who_wait(maker: LogMaker) -> None:
    log = await maker.open()
    waiting = asyncio.create_task(log.wait({0: 0}, LONG))
    await log.ping()
    await log.close()
    with pytest.raises(LogUnavailableError, match="closed"):
        await waiting
