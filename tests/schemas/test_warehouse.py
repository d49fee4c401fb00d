"""The door to the warehouse: settings that hold in every handle, one part an insert, marks from the projection."""

from __future__ import annotations

import asyncio
from datetime import date

import pyarrow as pa
import pytest

from ingest.progress import LANDED, read_marks
from schemas.warehouse import migrate as migrate_module
from schemas.warehouse.client import BLOCK_ROWS, PINNED, Limits, Warehouse
from schemas.warehouse.errors import WarehouseError, WarehouseLimitError
from schemas.warehouse.migrate import migrate, split_statements
from tests.schemas.events import make_events

SETTINGS = "SELECT name, value FROM system.settings WHERE name IN {names:Array(String)}"
SLOW = "SELECT count() AS n FROM numbers(100000000000) WHERE sipHash64(number) = 1"


async def test_the_pinned_settings_hold_in_every_handle_after_queries_with_limits_at_once(warehouse: Warehouse) -> None:
    limits = [Limits(seconds=number + 1, memory=10**8 + number) for number in range(8)]
    await asyncio.gather(*(warehouse.query("SELECT 1", limits=limit) for limit in limits))
    tables = await asyncio.gather(*(warehouse.query(SETTINGS, {"names": list(PINNED)}) for _ in range(8)))
    for table in tables:
        assert {row["name"]: row["value"] for row in table.to_pylist()} == {k: str(v) for k, v in PINNED.items()}


async def test_limits_go_with_their_own_query_alone(warehouse: Warehouse) -> None:
    names = {"names": ["max_execution_time", "max_memory_usage"]}
    for limits in (Limits(7, 10**8), Limits(9, 10**9)):
        rows = (await warehouse.query(SETTINGS, names, limits)).to_pylist()
        found = {row["name"]: float(row["value"]) for row in rows}
        assert found == {"max_execution_time": limits.seconds, "max_memory_usage": limits.memory}


async def test_settings_hold_while_an_insert_runs(warehouse: Warehouse) -> None:
    await warehouse.command("CREATE TABLE seen (name String, value String) ENGINE = Memory")
    await warehouse.query("SELECT 1", limits=Limits(1, 10**8))
    await warehouse.command(
        "INSERT INTO seen SELECT name, value FROM system.settings WHERE name IN {names:Array(String)}",
        {"names": list(PINNED)},
    )
    rows = (await warehouse.query("SELECT name, value FROM seen")).to_pylist()
    assert {row["name"]: row["value"] for row in rows} == {k: str(v) for k, v in PINNED.items()}


async def test_a_query_over_its_limit_of_time_or_memory_ends_as_such(warehouse: Warehouse) -> None:
    with pytest.raises(WarehouseLimitError):
        await warehouse.query(SLOW, limits=Limits(seconds=0.1))
    with pytest.raises(WarehouseLimitError):
        await warehouse.query("SELECT groupArray(number) AS n FROM numbers(10000000)", limits=Limits(memory=10**7))
    assert (await warehouse.query("SELECT 1 AS one")).to_pylist() == [{"one": 1}]


async def test_an_insert_is_one_part_whatever_its_record_batches(warehouse: Warehouse) -> None:
    pieces = [make_events([(0, number, place) for place in range(50)]) for number in range(20)]
    await warehouse.insert("events", pa.concat_tables(pieces))
    parts = await warehouse.query("SELECT _part, count() AS n FROM events GROUP BY _part")
    assert [row["n"] for row in parts.to_pylist()] == [1000]


async def test_more_rows_than_a_block_holds_are_refused(warehouse: Warehouse) -> None:
    many = pa.table({"site_id": pa.nulls(BLOCK_ROWS + 1, pa.uint32())})
    with pytest.raises(WarehouseError, match="do not go into one block"):
        await warehouse.insert("events", many)


async def test_an_insert_that_fails_leaves_nothing(warehouse: Warehouse) -> None:
    with pytest.raises(WarehouseError):
        await warehouse.insert("events", pa.table({"no_such_column": [1]}))
    assert (await warehouse.query("SELECT count() AS n FROM events")).to_pylist() == [{"n": 0}]


async def test_marks_are_the_highest_place_of_the_highest_offset_per_partition_and_month(warehouse: Warehouse) -> None:
    await warehouse.insert("events", make_events([(0, 4, 9), (0, 5, 2), (1, 3, 0), (0, 5, 1)]))
    await warehouse.insert("events", make_events([(0, 7, 0)], date(2026, 10, 1)))
    marks = await read_marks(warehouse, 1)
    assert marks.landed == {(0, 202611): (5, 2), (1, 202611): (3, 0), (0, 202610): (7, 0)}
    assert marks.deleted == {}


async def test_marks_are_read_from_the_projection_also_after_deletes(warehouse: Warehouse) -> None:
    await warehouse.insert("events", make_events([(0, 4, 9), (0, 5, 2)]))
    await warehouse.command("DELETE FROM events WHERE _offset = 5")
    plan = await warehouse.query("EXPLAIN projections = 1, indexes = 1 " + LANDED, {"log": 1})
    text = "\n".join(plan.to_pydict()["explain"])
    assert "ReadFromMergeTree (marks)" in text
    assert "ReadFromMergeTree (test" not in text
    assert (await read_marks(warehouse, 1)).landed == {(0, 202611): (4, 9)}


async def test_a_second_migration_does_nothing(warehouse: Warehouse) -> None:
    assert await migrate(warehouse) == []


async def test_a_migration_that_changed_afterwards_is_refused(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [name for name, _ in migrate_module.read_migrations()]
    monkeypatch.setattr(migrate_module, "read_migrations", lambda: [(name, "SELECT 1") for name in names])
    with pytest.raises(WarehouseError, match="changed after it was applied"):
        await migrate(warehouse)


async def test_a_warehouse_that_a_newer_program_migrated_is_refused(warehouse: Warehouse) -> None:
    await warehouse.command("INSERT INTO migrations (name, digest) SELECT '999_later.sql', ''")
    with pytest.raises(WarehouseError, match=r"newer than this program: it has been through 999_later\.sql"):
        await migrate(warehouse)


async def test_processes_that_migrate_at_once_do_not_disturb_each_other(warehouse: Warehouse, kind_url: str) -> None:
    (row,) = (await warehouse.query("SELECT currentDatabase() AS name")).to_pylist()
    database = f"{row['name']}_again"
    several = [Warehouse(kind_url, 1, database) for _ in range(3)]
    await asyncio.gather(*map(migrate, several))
    assert await migrate(several[0]) == []
    tables = "SELECT name, create_table_query FROM system.tables WHERE database = {name:String} ORDER BY name"
    made, once = [(await warehouse.query(tables, {"name": name})).to_pylist() for name in (database, row["name"])]
    for table in made:
        table["create_table_query"] = table["create_table_query"].replace(database, row["name"])
    assert made == once
    await several[0].command(f"DROP DATABASE {database} SYNC")
    for one in several:
        await one.close()


def test_a_semicolon_ends_a_statement_and_a_comment_is_none() -> None:
    assert split_statements("-- a; b\nSELECT 1; \n SELECT 2 -- c\n;") == ["SELECT 1", "SELECT 2"]
