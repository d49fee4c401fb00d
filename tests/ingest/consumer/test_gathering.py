"""When a batch ends: on size, on age and on stop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ingest.gathering import Gathered, Gatherer, Pace, Sizes
from tests.ingest.consumer.rivers import DAY, NOW, PATIENCE, make_line

if TYPE_CHECKING:
    from tests.ingest.consumer.rivers import River

BEGINS = {0: 0, 1: 0}


def test_bursts_go_at_once_and_lasting_load_at_a_steady_pace() -> None:
    now = 0.0
    pace = Pace(Sizes(burst=3, refill=250), lambda: now)
    waits = []
    for _ in range(6):
        waits.append(pace.seconds_left())
        now += waits[-1]
        pace.spend()
    assert waits == [0, 0, 0, 0.25, 0.25, 0.25]
    now += 10
    assert pace.seconds_left() == 0


async def test_an_event_on_a_quiet_server_goes_at_once(river: River) -> None:
    gatherer = Gatherer(river.log, Sizes(), asyncio.Event())
    waiting = asyncio.create_task(gatherer.gather(BEGINS))
    await river.append([make_line()], partition=1)
    gathered = await waiting
    assert gathered is not None
    assert (gathered.begins, gathered.ends, len(gathered.records)) == (BEGINS, {0: 0, 1: 1}, 1)


async def test_a_full_batch_goes_though_the_one_before_has_not_landed(river: River) -> None:
    gatherer = Gatherer(river.log, Sizes(lines=4), asyncio.Event())
    gatherer.ready.clear()
    waiting = asyncio.create_task(gatherer.gather(BEGINS))
    await river.append([make_line(), make_line()])
    assert not waiting.done()
    await river.append([make_line(), make_line()])
    gathered = await waiting
    assert gathered is not None
    assert gathered.ends == {0: 2, 1: 0}


async def test_a_small_batch_waits_for_the_one_before(river: River) -> None:
    gatherer = Gatherer(river.log, Sizes(), asyncio.Event())
    gatherer.ready.clear()
    waiting = asyncio.create_task(gatherer.gather(BEGINS))
    await river.append([make_line()])
    done, _ = await asyncio.wait([waiting], timeout=0.2)
    assert not done
    gatherer.ready.set()
    assert await waiting is not None


async def test_stop_ends_the_wait(river: River) -> None:
    stop = asyncio.Event()
    waiting = asyncio.create_task(Gatherer(river.log, Sizes(), stop).gather(BEGINS))
    stop.set()
    assert await waiting is None


async def test_records_come_in_log_order(river: River) -> None:
    for partition in (1, 0, 1, 0):
        await river.append([make_line()], partition)
    gathered = await Gatherer(river.log, Sizes(), asyncio.Event()).gather(BEGINS)
    assert gathered is not None
    assert [(record.partition, record.position) for record in gathered.records] == [(0, 0), (0, 1), (1, 0), (1, 1)]


async def test_a_batch_of_many_months_takes_what_else_there_is(river: River) -> None:
    river.sizes = Sizes(lines=6, months=2, wide_age=5_000, wide_lines=12)
    for _ in range(2):
        await river.append([make_line(ts=NOW - month * 31 * DAY, ingest=True) for month in range(6)])
    await river.consume()
    parts = await river.rows("SELECT DISTINCT _part AS part FROM events")
    assert len(parts) == 6
    assert len(await river.positions()) == 12


async def test_bytes_end_a_batch_and_every_partition_has_its_share(river: River) -> None:
    for partition in (0, 1):
        for _ in range(20):
            await river.append([make_line(props={"text": "x" * 10_000})], partition)
    gathered = await Gatherer(river.log, Sizes(bytes=100_000), asyncio.Event()).gather(BEGINS)
    assert gathered is not None
    assert 100_000 <= sum(len(record.body) for record in gathered.records) < 100_000 + 11_000
    assert min(gathered.ends.values()) >= 4


async def test_a_block_of_more_bytes_than_a_batch_goes_alone(river: River) -> None:
    for partition in (0, 1):
        await river.append([make_line(props={"text": "x" * 10_000})], partition)
    gathered = await Gatherer(river.log, Sizes(bytes=5_000), asyncio.Event()).gather(BEGINS)
    assert gathered is not None
    assert len(gathered.records) == 1


async def test_bytes_end_a_wide_batch_too(river: River) -> None:
    for _ in range(40):
        await river.append([make_line(props={"text": "x" * 10_000})])
    gatherer = Gatherer(river.log, Sizes(lines=3, bytes=100_000), asyncio.Event())
    first = Gathered(BEGINS, {0: 3, 1: 0}, await river.log.read(0, 0, 25_000))
    more = await gatherer.gather_wider(first, 60_000)
    size = sum(len(record.body) for record in [*first.records, *more.records])
    assert 100_000 <= size < 100_000 + 11_000


async def test_a_wide_batch_goes_as_soon_as_it_has_its_lines(river: River) -> None:
    for _ in range(12):
        await river.append([make_line()])
    gatherer = Gatherer(river.log, Sizes(lines=2, wide_lines=10), asyncio.Event())
    first = await gatherer.gather(BEGINS)
    assert first is not None
    before = len(first.records)
    async with asyncio.timeout(PATIENCE):
        more = await gatherer.gather_wider(first, 60_000_000)
    assert before + len(more.records) >= 10
