"""Zombies, lost answers and takeovers: whatever an earlier owner still does, every event lands exactly once."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from ingest.fences import read_highest, take_over
from ingest.log import ShareLostError
from ingest.stint import Hooks, Stint
from ingest.writer import no_failpoint
from schemas.warehouse.errors import WarehouseFencedError, WarehouseUnknownError
from tests.conftest import open_empty
from tests.door.faults import Kind
from tests.ingest.consumer.rivers import DAY, NOW, PATIENCE, Crash, crash_at, make_line, open_river, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from ingest.enrich.pipeline import Enricher
    from ingest.log import Share
    from schemas.warehouse.client import Warehouse
    from schemas.warehouse.fence import Fence
    from tests.door.process import Door
    from tests.ingest.consumer.rivers import River

EVENTS = "INSERT INTO `?events"
EVERY = (0, 1)


@pytest.fixture
async def river(control: AsyncEngine, door: Door, tmp_path: Path, enricher: Enricher) -> AsyncIterator[River]:
    """A river into a warehouse over HTTP, with four events in two partitions."""
    async with open_empty(f"{door.url}?insert_seconds=5") as warehouse:
        river = await open_river(control, warehouse, tmp_path, enricher)
        for partition in EVERY:
            for _ in range(2):
                await river.append([make_line()], partition)
        yield river
        door.clear()
        await river.log.close()


class FakeShare:
    """A share that a test gives and takes; `lost` is when the log has given it to somebody else."""

    def __init__(self, partitions: Sequence[int] = EVERY) -> None:
        self.partitions = partitions
        self.ended = asyncio.Event()
        self.lost = False
        self.committed: list[Mapping[int, int]] = []
        self.released = asyncio.Event()

    async def commit(self, positions: Mapping[int, int]) -> None:
        """Refused when it is lost, as a broker refuses an old generation."""
        if self.lost:
            message = "another generation"
            raise ShareLostError(message)
        self.committed.append(dict(positions))

    def release(self) -> None:
        """Nothing is under way."""
        self.released.set()


class FakeGroup:
    """Gives the shares one after the other."""

    def __init__(self, shares: Sequence[FakeShare]) -> None:
        self._shares = list(shares)
        self.left = False

    async def next_share(self) -> Share:
        """The next one, or none ever."""
        if not self._shares:
            await asyncio.Event().wait()
        return self._shares.pop(0)

    async def leave(self) -> None:
        """Take note."""
        self.left = True


def make_stint(
    river: River, share: FakeShare, closing: asyncio.Event, failpoint: Callable[[str], None] = no_failpoint
) -> Stint:
    """A stint as a consumer of another process would begin it."""
    consumer = river.make_consumer()
    hooks = Hooks(failpoint, lambda _landing: None, asyncio.Lock())
    return Stint(consumer._parts, share, closing, river.sizes, hooks)  # noqa: SLF001 - what the consumer itself does


async def finish(river: River, share: FakeShare) -> None:
    """Let a new owner take over and consume everything."""
    closing = asyncio.Event()
    running = asyncio.create_task(make_stint(river, share, closing).run())
    async with asyncio.timeout(PATIENCE):
        while not running.done() and not await river.is_consumed():  # noqa: ASYNC110 (rows have no event)
            await asyncio.sleep(0.05)
        closing.set()
        await running


async def assert_exactly_once(river: River) -> None:
    """Every event is there, none twice, and the ledger closes."""
    positions = await river.positions()
    assert len(positions) == len(set(positions)) == sum([(await river.log.bounds(each)).end for each in EVERY])
    await river.assert_ledger_closes()


class Gate:
    """Holds the first insert into `events` between the decision to send it and the sending, as SIGSTOP would."""

    def __init__(self, warehouse: Warehouse, patch: pytest.MonkeyPatch) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()
        self._insert = warehouse.insert
        patch.setattr(warehouse, "insert", self.insert)

    async def insert(self, table: str, rows: pa.Table, fence: Fence | None = None) -> None:
        """Wait once."""
        if table == "events" and not self.reached.is_set():
            self.reached.set()
            await self.open.wait()
        await self._insert(table, rows, fence)


@asynccontextmanager
async def running(stint: Stint) -> AsyncIterator[asyncio.Task[None]]:
    """A stint in the background, ended with the block."""
    task = asyncio.create_task(stint.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_owner_stopped_before_sending_is_refused_when_it_wakes(
    river: River, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(river.warehouse, monkeypatch)
    async with running(make_stint(river, FakeShare(), asyncio.Event())) as zombie:
        await gate.reached.wait()
        await finish(river, FakeShare())
        gate.open.set()
        with pytest.raises(WarehouseFencedError):
            await zombie
    await assert_exactly_once(river)


async def test_an_insert_that_runs_at_the_takeover_is_stopped(river: River, door: Door) -> None:
    door.fault(Kind.RUNNING, EVENTS, seconds=60)
    async with running(make_stint(river, FakeShare(), asyncio.Event())) as zombie:
        await until_running(river)
        await finish(river, FakeShare())
        with pytest.raises((WarehouseUnknownError, WarehouseFencedError)):
            await zombie
    await assert_exactly_once(river)


async def until_running(river: River) -> None:
    """Return when the server runs a fenced insert."""
    async with asyncio.timeout(PATIENCE):
        while not await river.rows(  # noqa: ASYNC110 (as above)
            "SELECT 1 AS one FROM system.processes WHERE startsWith(Settings['log_comment'], 'pulse-insert:')"
        ):
            await asyncio.sleep(0.02)


async def test_bytes_that_are_stuck_on_the_way_are_refused_when_they_arrive(river: River, door: Door) -> None:
    door.fault(Kind.HOLD, EVENTS)
    async with running(make_stint(river, FakeShare(), asyncio.Event())) as zombie:
        await until(lambda: door.held() == 1)
        await finish(river, FakeShare())
        door.release()
        with pytest.raises(WarehouseFencedError):
            await zombie
    await assert_exactly_once(river)


@pytest.mark.parametrize("table", ["events", "receipts"])
async def test_an_answer_that_is_lost_is_found_out_and_nothing_is_sent_twice(
    river: River, door: Door, table: str
) -> None:
    door.fault(Kind.LOSE_ANSWER, f"INSERT INTO `?{table}")
    await river.consume()
    assert door.waiting() == 0
    await assert_exactly_once(river)
    highest = await read_highest(river.warehouse, river.number, EVERY)
    assert [epoch for epoch, _owner in highest.values()] == [2, 2]  # it took over from itself


async def test_an_insert_of_its_own_that_arrives_after_the_timeout_lands_nowhere(river: River, door: Door) -> None:
    door.fault(Kind.HOLD, EVENTS)
    stint = make_stint(river, FakeShare(), asyncio.Event())
    with pytest.MonkeyPatch.context() as patch:
        # Of five seconds four are left: what is not held must be answered in them.
        patch.setattr("schemas.warehouse.server_insert.GRACE_SECONDS", -1.0)
        with pytest.raises(WarehouseUnknownError):
            await stint.run()
    await river.consume()
    door.release()
    await until(lambda: door.held() == 0)
    await assert_exactly_once(river)


async def test_of_two_who_take_over_at_once_the_higher_one_may_write(river: River) -> None:
    outcomes = await asyncio.gather(
        *(take_over(river.warehouse, river.number, EVERY, f"m{number}") for number in range(5)), return_exceptions=True
    )
    highest = await read_highest(river.warehouse, river.number, EVERY)
    assert len(set(highest.values())) == 1
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            assert isinstance(outcome, WarehouseFencedError)
            continue
        is_highest = all(highest[each] == (outcome.epochs[each], outcome.owner) for each in EVERY)
        assert await may_write(river.warehouse, outcome) == is_highest


async def may_write(warehouse: Warehouse, fence: Fence) -> bool:
    """Whether an insert with this fence is taken; it leaves no row that counts."""
    rows = (await warehouse.query("SELECT * FROM receipts LIMIT 0")).slice(0)
    row = {name: [fence.log if name == "_log" else "" if name == "reason" else 0] for name in rows.column_names}
    try:
        await warehouse.insert("receipts", pa.table(row).cast(rows.schema), fence)
    except WarehouseFencedError:
        return False
    return True


async def test_the_rightful_owner_takes_over_again_from_a_zombie_that_fenced(
    river: River, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = FakeShare()
    gate = Gate(river.warehouse, monkeypatch)
    monkeypatch.setattr(river.log, "join", give(share))
    consuming = asyncio.create_task(river.consume())
    await gate.reached.wait()
    await take_over(river.warehouse, river.number, EVERY, "zombie")
    gate.open.set()
    await consuming
    await assert_exactly_once(river)
    assert share.committed[-1] == {0: 2, 1: 2}


def give(*shares: FakeShare) -> Callable[[str], object]:
    """What a log's `join` is replaced with."""

    async def join(_member: str) -> FakeGroup:
        return FakeGroup(shares)

    return join


async def test_a_fenced_owner_whose_share_is_lost_takes_nothing_over(
    river: River, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = FakeShare()
    gate = Gate(river.warehouse, monkeypatch)
    monkeypatch.setattr(river.log, "join", give(lost))
    stop = asyncio.Event()
    consuming = asyncio.create_task(river.make_consumer().run(stop))
    await gate.reached.wait()
    lost.lost = True
    await finish(river, FakeShare())
    gate.open.set()
    await lost.released.wait()
    highest = await read_highest(river.warehouse, river.number, EVERY)
    assert [epoch for epoch, _owner in highest.values()] == [2, 2]
    stop.set()
    await consuming
    await assert_exactly_once(river)


async def test_a_taker_that_dies_after_fencing_leaves_everything_to_the_next(river: River) -> None:
    with pytest.raises(Crash):
        await make_stint(river, FakeShare(), asyncio.Event(), crash_at("taken-over")).run()
    await finish(river, FakeShare())
    await assert_exactly_once(river)


@pytest.mark.parametrize("failpoint", ["month", "events", "judged", "receipts", "committed"])
async def test_who_comes_after_a_crash_goes_on_from_the_rows_whatever_the_share(river: River, failpoint: str) -> None:
    with pytest.raises(Crash):
        await make_stint(river, FakeShare(), asyncio.Event(), crash_at(failpoint)).run()
    await asyncio.gather(finish_one(river, 0), finish_one(river, 1))
    await assert_exactly_once(river)


async def finish_one(river: River, partition: int) -> None:
    """Consume one partition to its end."""
    await finish(river, FakeShare([partition]))


async def test_a_share_that_others_wait_for_is_landed_committed_and_released(
    river: River, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = FakeShare(), FakeShare([1])
    gate = Gate(river.warehouse, monkeypatch)
    monkeypatch.setattr(river.log, "join", give(first, second))
    stop = asyncio.Event()
    consumer = river.make_consumer()
    consuming = asyncio.create_task(consumer.run(stop))
    await gate.reached.wait()
    first.ended.set()
    gate.open.set()
    await first.released.wait()
    assert first.committed[-1] == {0: 2, 1: 2}
    await river.append([make_line()], 0)
    await river.append([make_line()], 1)
    await until(lambda: consumer.consumed == {1: 3})
    stop.set()
    await consuming
    await finish(river, FakeShare([0]))
    await assert_exactly_once(river)


async def test_a_commit_that_comes_too_late_ends_the_share_and_loses_nothing(
    river: River, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, again = FakeShare(), FakeShare()
    late.lost = True
    monkeypatch.setattr(river.log, "join", give(late, again))
    await river.consume()
    await late.released.wait()
    await river.append([make_line()], 0)
    await finish(river, FakeShare())
    await assert_exactly_once(river)


async def test_a_copy_that_a_batch_cut_short_had_found_is_one_for_the_next_owner_of_its_partition(river: River) -> None:
    copy = make_line()
    await river.append([copy], 0)
    await river.append([copy, make_line()], 1)
    with pytest.raises(Crash):
        await make_stint(river, FakeShare(), asyncio.Event(), crash_at("events")).run()
    await asyncio.gather(finish_one(river, 0), finish_one(river, 1))
    assert await river.positions("duplicates") == [(1, 2, 0)]
    assert await river.positions("dead_letters") == []
    await river.assert_ledger_closes()


async def test_who_takes_over_from_two_finishes_the_batches_of_both(river: River) -> None:
    """One of several months, which is made again exactly, and beside it one that is not."""
    await finish(river, FakeShare())
    await river.append([make_line()], 0)
    await river.append([make_line(ts=NOW - 31 * DAY, ingest=True)], 0)
    await river.append([make_line()], 1)
    for partition, place in ((0, "month"), (1, "events")):
        with pytest.raises(Crash):
            await make_stint(river, FakeShare([partition]), asyncio.Event(), crash_at(place)).run()
    await finish(river, FakeShare())
    assert await river.positions("duplicates") == []
    await assert_exactly_once(river)


async def test_a_block_of_copies_alone_that_was_cut_short_stays_one(river: River) -> None:
    """Whoever has only its partition later knows nothing of the other; the job that moves copies keeps the earliest."""
    await finish(river, FakeShare())
    copy = make_line()
    await river.append([make_line(event_id=copy["event_id"], received=NOW + 500)], 0)
    await river.append([copy], 1)
    with pytest.raises(Crash):
        await make_stint(river, FakeShare(), asyncio.Event(), crash_at("judged")).run()
    duplicates = await river.positions("duplicates")
    await asyncio.gather(finish_one(river, 0), finish_one(river, 1))
    assert await river.positions("duplicates") == duplicates
    assert not {*duplicates} & {*await river.positions()}
    await river.assert_ledger_closes()
