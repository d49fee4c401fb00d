"""A disk that does not take what the engine writes: the engine says nothing; Pulse notices, mends and says it."""

from __future__ import annotations

import asyncio
import resource
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import structlog

from schemas.warehouse import embedded, room
from schemas.warehouse.embedded import TABLES, connect
from schemas.warehouse.errors import WarehouseError
from tests.schemas.events import make_events

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from clickhouse_connect.driver.client import Client

    from schemas.warehouse.client import Warehouse

COUNT = "SELECT count() AS n, sum(_offset) AS sum FROM events"
DATABASE = "SELECT currentDatabase() AS name"
SET_ASIDE = "SELECT table, count() AS n FROM system.detached_parts WHERE database = currentDatabase() GROUP BY table"
MERGES = "SELECT table FROM system.merges"  # those that began before
NO_MERGES = "max_bytes_to_merge_at_min_space_in_pool = 1, max_bytes_to_merge_at_max_space_in_pool = 1"
EMPTY, CUT = 0, 100  # bytes of each file that are written


@contextmanager
def failing_disk(size: int) -> Iterator[None]:
    """No file of this process grows beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        with structlog.testing.capture_logs():  # where they go to is a file, too
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def warehouse(embedded_warehouse: Warehouse) -> Warehouse:
    """The engine in this process."""
    return embedded_warehouse


@pytest.fixture
async def beside(embedded_url: str, warehouse: Warehouse) -> AsyncIterator[Client]:
    """A handle of the engine that goes past our door, as its own merges do."""
    (row,) = (await warehouse.query(DATABASE)).to_pylist()
    client = connect(embedded_url, row["name"])
    yield client
    client.close()


@pytest.fixture(autouse=True)
async def two_parts(warehouse: Warehouse) -> None:
    """Three rows in two parts, which only OPTIMIZE merges: a merge of the engine's own would fail at any moment."""
    for table in (await warehouse.query(TABLES)).column("name").to_pylist():
        await warehouse.command(f"ALTER TABLE {table} MODIFY SETTING {NO_MERGES}")
    await warehouse.insert("events", make_events([(0, 1, 0), (0, 2, 0)]))
    await warehouse.insert("events", make_events([(0, 3, 0)]))
    for _ in range(1000):
        if not (await warehouse.query(MERGES)).num_rows:
            return
        await asyncio.sleep(0.01)
    pytest.fail("a merge of the engine's own does not end")


@pytest.mark.parametrize("size", [EMPTY, CUT])
async def test_an_insert_that_the_disk_did_not_take_fails_and_may_be_done_again(
    warehouse: Warehouse, size: int
) -> None:
    rows = "INSERT INTO events (site_id, local_date, _offset) SELECT 1, '2026-11-21', 4"
    with failing_disk(size), pytest.raises(WarehouseError, match="writes to the disk failed"):
        await warehouse.command(rows)
    assert (await warehouse.query(COUNT)).to_pylist() == [{"n": 3, "sum": 6}]
    await warehouse.command(rows)
    assert (await warehouse.query(COUNT)).to_pylist() == [{"n": 4, "sum": 10}]


@pytest.mark.parametrize("size", [EMPTY, CUT])
async def test_a_merge_that_the_disk_did_not_take_is_taken_back(
    warehouse: Warehouse, beside: Client, size: int
) -> None:
    with failing_disk(size):
        beside.command("OPTIMIZE TABLE events FINAL")
    with pytest.raises(WarehouseError, match="writes to the disk failed"):
        await warehouse.check_disk()
    assert (await warehouse.query(SET_ASIDE)).to_pylist() == [{"table": "events", "n": 1}]
    assert (await warehouse.query(COUNT)).to_pylist() == [{"n": 3, "sum": 6}]
    await warehouse.check_disk()
    beside.command("OPTIMIZE TABLE events FINAL")
    assert (await warehouse.query(COUNT)).to_pylist() == [{"n": 3, "sum": 6}]


async def test_a_question_that_meets_a_broken_part_has_it_mended_and_is_answered(
    warehouse: Warehouse, beside: Client
) -> None:
    with failing_disk(EMPTY):
        beside.command("OPTIMIZE TABLE events FINAL")
    assert (await warehouse.query(COUNT)).to_pylist() == [{"n": 3, "sum": 6}]
    await warehouse.check_disk()


async def test_a_table_that_an_attempt_left_out_is_taken_back_by_the_next(warehouse: Warehouse, beside: Client) -> None:
    beside.command("DETACH TABLE events")
    embedded.reload_tables(beside)
    assert (await warehouse.query(COUNT)).to_pylist() == [{"n": 3, "sum": 6}]


async def test_nothing_is_written_and_nothing_lost_where_the_disk_has_no_room_left(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(room, "KEPT_FREE", 1 << 60)
        for write in (warehouse.insert("events", make_events([(0, 4, 0)])), warehouse.command("SYSTEM FLUSH LOGS")):
            with pytest.raises(WarehouseError, match="must stay free: make room"):
                await write
        with pytest.raises(WarehouseError, match="must stay free"):
            await warehouse.ping()
        assert (await warehouse.query(COUNT)).to_pylist() == [{"n": 3, "sum": 6}]
    await warehouse.ping()


async def test_the_engine_itself_keeps_room_and_old_parts(warehouse: Warehouse) -> None:
    disks = await warehouse.query("SELECT keep_free_space FROM system.disks")
    assert disks.to_pylist() == [{"keep_free_space": room.KEPT_FREE}]
    tables = await warehouse.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'"
        " AND NOT (engine_full LIKE '%old_parts_lifetime = 120%'"
        " AND engine_full LIKE '%concurrent_part_removal_threshold = 100000%')"
    )
    assert tables.to_pylist() == []


async def test_questions_and_inserts_beside_the_mending_lose_and_double_nothing(
    warehouse: Warehouse, beside: Client
) -> None:
    """Every insert that is told as done is there once; every answer is of a moment between two inserts."""
    stop = asyncio.Event()

    async def reload_on_and_on() -> None:
        while not stop.is_set():
            await asyncio.to_thread(embedded.reload_tables, beside)

    async def ask_on_and_on() -> list[int]:
        counts: list[int] = []
        while not stop.is_set():
            with suppress(WarehouseError):  # a table that is away for a moment, without a write that failed
                counts.append((await warehouse.query(COUNT)).to_pylist()[0]["n"])
        return counts

    reloading, asking = asyncio.create_task(reload_on_and_on()), asyncio.create_task(ask_on_and_on())
    done = 3
    for number in range(30):
        with suppress(WarehouseError):
            await warehouse.insert("events", make_events([(0, 10 + number, 0)]))
            done += 1
    stop.set()
    await reloading
    counts = await asking
    assert counts == sorted(counts)
    assert done > 3
    assert (await warehouse.query(COUNT)).to_pylist()[0]["n"] == done
