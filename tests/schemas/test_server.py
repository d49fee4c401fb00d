"""A server over HTTP that fares badly: what an insert left is told truly, or told to be unknown."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from schemas.warehouse.client import Limits, Warehouse
from schemas.warehouse.errors import (
    WarehouseDiskError,
    WarehouseError,
    WarehouseFencedError,
    WarehouseLimitError,
    WarehouseMovedError,
    WarehouseUnknownError,
    may_pass,
)
from schemas.warehouse.fence import Fence
from tests.conftest import open_empty
from tests.door.faults import Kind
from tests.door.process import Door, TiedDoor
from tests.schemas.events import make_events

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

COUNT = "SELECT count() AS n FROM events"
ONE = make_events([(0, 1, 0)])
PATIENCE = 60.0


@pytest.fixture
async def warehouse(door: Door) -> AsyncIterator[Warehouse]:
    """A migrated, empty warehouse behind the door."""
    async with open_empty(door.url) as warehouse:
        yield warehouse


@pytest.fixture
def faulty(door: Door) -> Iterator[Door]:
    """The door, with no fault left afterwards."""
    yield door
    door.clear()


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer is waited for much longer than the insert may take."""
    monkeypatch.setattr("schemas.warehouse.server_insert.GRACE_SECONDS", 0.3)


@pytest.fixture
def own_door(tmp_path: Path) -> Iterator[Door]:
    """A door that a test may kill."""
    with TiedDoor(tmp_path / "own") as door:
        yield door


async def count(warehouse: Warehouse) -> int:
    return int((await warehouse.query(COUNT)).to_pylist()[0]["n"])


async def take(warehouse: Warehouse, epochs: dict[int, int], owner: str) -> Fence:
    """Write a takeover of these partitions of log 1."""
    size = len(epochs)
    columns = {
        "_log": pa.array([1] * size, pa.uint16()),
        "_partition": pa.array(list(epochs), pa.uint16()),
        "epoch": pa.array(list(epochs.values()), pa.uint64()),
        "owner": pa.array([owner] * size),
    }
    await warehouse.insert("fences", pa.table(columns))
    return Fence(1, owner, epochs)


async def wait_until(is_so: Callable[[], bool]) -> None:
    """Return when it is so; fail after a minute."""
    end = time.monotonic() + PATIENCE
    while not await asyncio.to_thread(is_so):
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


# A fence of "b" at epoch 5 of partition 0 and epoch 2 of partition 1; the insert is of both.
FENCES = [
    ({0: 5, 1: 2}, "b", True),
    ({0: 4, 1: 2}, "b", False),
    ({0: 5, 1: 1}, "b", False),
    ({0: 5, 1: 2}, "a", False),
    ({0: 5, 1: 2}, "c", True),
    ({0: 6, 1: 3}, "a", True),
    ({2: 1}, "a", True),
]


async def test_an_insert_lands_unless_a_higher_epoch_and_owner_holds_one_of_its_partitions(
    warehouse: Warehouse,
) -> None:
    await take(warehouse, {0: 5, 1: 2}, "b")
    rows = make_events([(0, 1, 0), (1, 1, 0)])
    landed = 0
    for epochs, owner, lands in FENCES:
        insert = warehouse.insert("events", rows, Fence(1, owner, epochs))
        if lands:
            await insert
            landed += 2
        else:
            with pytest.raises(WarehouseFencedError):
                await insert
        assert await count(warehouse) == landed, (epochs, owner)
    await warehouse.insert("events", rows, Fence(2, "a", {0: 0}))  # another log has its own fences


async def test_a_fenced_insert_writes_every_kind_of_column_as_one_part(warehouse: Warehouse) -> None:
    fence = await take(warehouse, {0: 1}, "a")
    plain = make_events([(0, number, 0) for number in range(70_000)])
    many = (
        plain.append_column("name", pa.array(["pageview"] * plain.num_rows).dictionary_encode())
        .append_column("props", pa.array([[("k'`\\", "v")]] * plain.num_rows, pa.map_(pa.string(), pa.string())))
        .append_column("ts", pa.array([1_700_000_000_123] * plain.num_rows, pa.timestamp("ms", "UTC")))
    )
    await warehouse.insert("events", pa.concat_tables([many.slice(0, 7), many.slice(7)]), fence)
    sql = (
        "SELECT count() AS n, uniqExact(_part) AS parts, any(name) AS name, any(props) AS props, any(ts) AS ts"
        " FROM events"
    )
    (row,) = (await warehouse.query(sql)).to_pylist()
    assert (row["n"], row["parts"], row["name"], dict(row["props"])) == (70_000, 1, "pageview", {"k'`\\": "v"})
    assert row["ts"].timestamp() == 1_700_000_000.123


async def test_stop_inserts_kills_what_runs_and_returns_when_it_is_gone(warehouse: Warehouse, faulty: Door) -> None:
    fence = await take(warehouse, {0: 1}, "a")
    faulty.fault(Kind.RUNNING, f"log_comment={fence.tag}", seconds=60)
    insert = asyncio.create_task(warehouse.insert("events", ONE, fence))
    await wait_until_running(warehouse, fence)
    await warehouse.stop_inserts(["somebody else"])
    assert not insert.done()
    await warehouse.stop_inserts(["somebody else", "a"])
    processes = "SELECT count() AS n FROM system.processes WHERE Settings['log_comment'] = {tag:String}"
    assert (await warehouse.query(processes, {"tag": fence.tag})).to_pylist() == [{"n": 0}]
    with pytest.raises(WarehouseUnknownError, match="QUERY_WAS_CANCELLED"):
        await insert
    assert await count(warehouse) == 0


async def wait_until_running(warehouse: Warehouse, fence: Fence) -> None:
    """Return when the insert is in the list of processes."""
    sql = "SELECT count() AS n FROM system.processes WHERE Settings['log_comment'] = {tag:String}"
    async with asyncio.timeout(PATIENCE):
        while (await warehouse.query(sql, {"tag": fence.tag})).to_pylist() != [{"n": 1}]:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)


async def test_many_owners_are_stopped_at_once(warehouse: Warehouse) -> None:
    await warehouse.stop_inserts([f"member-{number:032x}" for number in range(20_000)])
    await warehouse.stop_inserts([])


async def test_an_insert_stuck_in_a_proxy_is_refused_when_it_runs_after_a_takeover(
    door: Door, warehouse: Warehouse, faulty: Door
) -> None:
    fence = await take(warehouse, {0: 1}, "a")
    faulty.fault(Kind.HOLD, "INSERT INTO events")
    insert = asyncio.create_task(warehouse.insert("events", ONE, fence))
    await wait_until(lambda: door.held() == 1)
    await take(warehouse, {0: 2}, "b")
    await warehouse.stop_inserts(["a"])
    faulty.release()
    with pytest.raises(WarehouseFencedError):
        await insert
    assert await count(warehouse) == 0


@pytest.mark.usefixtures("hurried")
async def test_an_insert_stuck_in_a_proxy_lands_later_though_nobody_waits_for_it(
    door: Door, warehouse: Warehouse, faulty: Door
) -> None:
    """Why an insert of one's own whose answer was lost must be fenced off before the rows are read and sent again."""
    (row,) = (await warehouse.query("SELECT currentDatabase() AS name")).to_pylist()
    other = Warehouse(f"{door.url}/{row['name']}?insert_seconds=3", 1)  # which must do for the insert when it runs
    faulty.fault(Kind.HOLD, "INSERT INTO events")
    with pytest.raises(WarehouseUnknownError):
        await other.insert("events", ONE)
    await other.close()
    assert await count(warehouse) == 0
    faulty.release()
    async with asyncio.timeout(PATIENCE):
        while not await count(warehouse):  # noqa: ASYNC110 - rows have no event
            await asyncio.sleep(0.01)


async def test_an_insert_whose_answer_was_lost_is_unknown_and_not_sent_again(
    warehouse: Warehouse, faulty: Door
) -> None:
    faulty.fault(Kind.LOSE_ANSWER, "INSERT INTO events")
    with pytest.raises(WarehouseUnknownError) as caught:
        await warehouse.insert("events", ONE)
    assert not may_pass(caught.value)
    assert await count(warehouse) == 1


async def test_a_command_whose_answer_was_lost_is_unknown_and_not_sent_again(
    warehouse: Warehouse, faulty: Door
) -> None:
    faulty.fault(Kind.LOSE_ANSWER, "INSERT INTO events")
    with pytest.raises(WarehouseUnknownError):
        await warehouse.command("INSERT INTO events (site_id) SELECT 1")
    assert await count(warehouse) == 1


async def test_a_question_whose_answer_was_lost_is_asked_once_more(warehouse: Warehouse, faulty: Door) -> None:
    faulty.fault(Kind.LOSE_ANSWER, "count", times=1)
    assert await count(warehouse) == 0
    faulty.fault(Kind.LOSE_ANSWER, "count", times=2)
    with pytest.raises(WarehouseError):
        await count(warehouse)


# What a server or a proxy says, and whether the rows certainly did not land.
ANSWERS = [
    (Kind.FAIL, {"code": 394}, WarehouseUnknownError),  # stopped, maybe after its part was put to use
    (Kind.FAIL, {"code": 241}, WarehouseUnknownError),
    (Kind.FAIL, {"code": 159}, WarehouseUnknownError),
    (Kind.FAIL, {"code": 319}, WarehouseUnknownError),  # UNKNOWN_STATUS_OF_INSERT
    (Kind.FAIL, {"code": 243}, WarehouseDiskError),
    (Kind.FAIL, {"code": 252}, WarehouseError),  # TOO_MANY_PARTS
    (Kind.FAIL, {"code": 60}, WarehouseError),
    (Kind.REFUSE, {"status": 503}, WarehouseUnknownError),
    (Kind.REFUSE, {"status": 200}, WarehouseUnknownError),
    (Kind.REFUSE, {"status": 302}, WarehouseUnknownError),
]


async def test_an_insert_that_is_refused_says_whether_it_may_be_sent_again(warehouse: Warehouse, faulty: Door) -> None:
    for number, (kind, values, expected) in enumerate(ANSWERS):
        faulty.fault(kind, "INSERT INTO events", **values)
        with pytest.raises(WarehouseError) as caught:
            await warehouse.insert("events", ONE)
        assert type(caught.value) is expected, values
        assert await count(warehouse) == number
        await warehouse.insert("events", ONE)


async def test_rows_that_the_server_cannot_read_certainly_did_not_land(warehouse: Warehouse) -> None:
    fence = await take(warehouse, {0: 1}, "a")
    bad = ONE.append_column("ts", pa.array(["no time"]))
    for guard in (None, fence):
        with pytest.raises(WarehouseError) as caught:
            await warehouse.insert("events", bad, guard)
        assert may_pass(caught.value)
    assert await count(warehouse) == 0


async def test_limits_and_data_that_moved_are_told_as_such(warehouse: Warehouse) -> None:
    slow = "SELECT count() AS n FROM numbers(100000000000) WHERE sipHash64(number) = 1"
    with pytest.raises(WarehouseLimitError):
        await warehouse.query(slow, limits=Limits(seconds=0.1))
    with pytest.raises(WarehouseLimitError):
        await warehouse.query("SELECT groupArray(number) AS n FROM numbers(10000000)", limits=Limits(memory=10**7))
    with pytest.raises(WarehouseMovedError):
        await warehouse.query("SELECT throwIf(count() = 0, 'moved') AS n FROM events")


async def test_questions_run_at_once(warehouse: Warehouse) -> None:
    started = time.monotonic()
    await asyncio.gather(*(warehouse.query("SELECT sleep(3)") for _ in range(2)))
    assert time.monotonic() - started < 5.9


async def test_a_hundred_thousand_values_are_one_parameter(warehouse: Warehouse) -> None:
    ids = [2**63 + number for number in range(100_000)]
    texts = [f"'{number}\\ü" for number in range(20_000)]
    sql = (
        "SELECT countIf(number + 9223372036854775808 IN {ids:Array(UInt64)}) AS found,"
        " length({ids:Array(UInt64)}) AS ids, arrayElement({texts:Array(String)}, -1) AS text FROM numbers(200000)"
    )
    (row,) = (await warehouse.query(sql, {"ids": ids, "texts": texts})).to_pylist()
    assert row == {"found": 100_000, "ids": 100_000, "text": texts[-1]}


async def test_a_server_that_is_killed_during_an_insert_has_all_of_it_or_nothing(own_door: Door) -> None:
    rows = make_events([(0, number, 0) for number in range(50_000)])
    async with open_empty(own_door.url) as warehouse:
        for moment in (0.01, 0.04):
            await warehouse.command("TRUNCATE TABLE events")
            insert = asyncio.create_task(warehouse.insert("events", rows))
            await asyncio.sleep(moment)
            await asyncio.to_thread(own_door.kill)
            await asyncio.to_thread(own_door.start)
            outcome = (await asyncio.gather(insert, return_exceptions=True))[0]
            found = await count(warehouse)
            assert found in (0, rows.num_rows)
            assert outcome is not None or found == rows.num_rows
            assert not (isinstance(outcome, Exception) and may_pass(outcome)) or found == 0


async def test_a_server_that_is_away_certainly_got_nothing(own_door: Door) -> None:
    async with open_empty(own_door.url) as warehouse:
        own_door.kill()
        for write in (warehouse.insert("events", ONE), warehouse.command("TRUNCATE TABLE events"), warehouse.ping()):
            with pytest.raises(WarehouseError, match="refused") as caught:
                await write
            assert may_pass(caught.value)
        own_door.start()
        await warehouse.ping()
        await warehouse.insert("events", ONE)
        assert await count(warehouse) == 1


@pytest.mark.usefixtures("hurried")
async def test_a_server_that_stops_answering_is_not_waited_for(own_door: Door) -> None:
    async with open_empty(f"{own_door.url}/pulse?insert_seconds=0.1") as warehouse:
        own_door.pause()
        with pytest.raises(WarehouseUnknownError):
            await warehouse.insert("events", ONE)
        own_door.resume()
        await warehouse.ping()
