"""The form for a cluster: statements rewritten and parsed by the engine, and run on a cluster of one shard.

What needs Keeper (ON CLUSTER, Replicated engines) is only parsed; the door leaves it out and runs the rest.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from ingest import retention
from ingest.progress import read_marks
from schemas.warehouse import shards as shards_module
from schemas.warehouse.address import Address, Host
from schemas.warehouse.client import Warehouse
from schemas.warehouse.cluster import Cluster
from schemas.warehouse.errors import WarehouseError, WarehouseFencedError
from schemas.warehouse.fence import Fence
from schemas.warehouse.migrate import RECORD, migrate, read_migrations, split_statements
from schemas.warehouse.shards import split_by_shard
from tests.conftest import open_empty
from tests.schemas.events import make_events

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.door.process import Door

CLUSTER = Cluster("c", "web")
MIGRATIONS = [RECORD, *(statement for _, text in read_migrations() for statement in split_statements(text))]
COMMANDS = [
    *(retention.MARKS, retention.DELETE, retention.DROP, retention.MOVE, retention.FORGET),
    *("OPTIMIZE TABLE events FINAL", "TRUNCATE TABLE events", "DROP TABLE events SYNC", "DROP DATABASE web SYNC"),
]
REWRITTEN = [
    (
        "CREATE TABLE IF NOT EXISTS marks (_log UInt16, _partition UInt16) ENGINE = MergeTree ORDER BY 1 SETTINGS a=1",
        """
        CREATE TABLE IF NOT EXISTS marks_local ON CLUSTER c (_log UInt16, _partition UInt16)
            ENGINE = ReplicatedMergeTree('/clickhouse/{database}/marks/{shard}', '{replica}')
            ORDER BY 1 SETTINGS replicated_deduplication_window = 0, a=1;
        CREATE TABLE IF NOT EXISTS marks ON CLUSTER c AS marks_local
            ENGINE = Distributed('c', 'web', 'marks_local', _partition)
        """,
    ),
    (
        "CREATE TABLE IF NOT EXISTS probe AS events ENGINE = Null",
        "CREATE TABLE IF NOT EXISTS probe ON CLUSTER c AS events_local ENGINE = Null",
    ),
    ("ALTER TABLE events MODIFY SETTING a = 1", "ALTER TABLE events_local ON CLUSTER c MODIFY SETTING a = 1"),
    (
        "ALTER TABLE batches ADD COLUMN x UInt8",
        """
        ALTER TABLE batches_local ON CLUSTER c ADD COLUMN x UInt8;
        ALTER TABLE batches ON CLUSTER c ADD COLUMN x UInt8
        """,
    ),
    ("ALTER TABLE probe ADD COLUMN x UInt8", "ALTER TABLE probe ON CLUSTER c ADD COLUMN x UInt8"),
    ("DELETE FROM events WHERE site_id = 1", "DELETE FROM events_local ON CLUSTER c WHERE site_id = 1"),
    ("INSERT INTO marks SELECT 1", "INSERT INTO marks SELECT 1"),
]
KEYS = {"events": "_partition", "fences": "_partition", "receipts": "_partition", "erased": "site_id", "batches": "0"}


@pytest.fixture
async def warehouse(cluster_door: Door) -> AsyncIterator[Warehouse]:
    """A migrated, empty warehouse on a cluster of one shard."""
    async with open_empty(f"{cluster_door.url}/?cluster=pulse") as warehouse:
        yield warehouse


@pytest.mark.parametrize(("statement", "expected"), REWRITTEN, ids=[statement[:30] for statement, _ in REWRITTEN])
def test_a_statement_becomes_those_of_a_cluster(statement: str, expected: str) -> None:
    found = [" ".join(text.split()) for text in CLUSTER.rewrite(statement)]
    assert found == [" ".join(text.split()) for text in expected.split(";")]


async def test_the_engine_parses_every_statement_of_the_cluster(warehouse: Warehouse) -> None:
    statements = [rewritten for statement in (*MIGRATIONS, *COMMANDS) for rewritten in CLUSTER.rewrite(statement)]
    for statement in statements:
        (row,) = (await warehouse.query("SELECT formatQuery({sql:String}) AS text", {"sql": statement})).to_pylist()
        assert ("ON CLUSTER" in row["text"]) == (not statement.lstrip().startswith("INSERT"))
    created = [text for text in statements if "Replicated" in text]
    assert all("replicated_deduplication_window = 0" in text for text in created)
    assert len(created) == sum("CREATE" in text for text in MIGRATIONS) - 1  # all but probe


def test_rows_of_a_partition_lie_on_one_shard_in_every_table_that_has_partitions() -> None:
    found = {}
    for statement in MIGRATIONS:
        for rewritten in CLUSTER.rewrite(statement):
            if match := re.search(r"Distributed\('c', 'web', '(\w+)_local', (\w+)\)", rewritten):
                found[match[1]] = match[2]
    assert KEYS.items() <= found.items()
    assert set(found.values()) == {"_partition", "site_id", "0"}


def test_an_insert_is_split_as_the_tables_are() -> None:
    rows = make_events([(number % 5, number, 0) for number in range(20)])
    servers = [object(), object(), object()]
    parts = dict(split_by_shard(servers, rows))  # type: ignore[arg-type]  # it only hands them out
    assert [sorted(set(parts[server].column("_partition").to_pylist())) for server in servers] == [[0, 3], [1, 4], [2]]  # type: ignore[index]
    assert sum(part.num_rows for part in parts.values()) == rows.num_rows
    batch = pa.table({"_log": [1]})
    assert list(split_by_shard(servers, batch)) == [(servers[0], batch)]  # type: ignore[arg-type]


async def test_fences_marks_and_deletes_work_on_a_cluster(warehouse: Warehouse) -> None:
    fence = pa.table(
        [pa.array([1], pa.uint16()), pa.array([0], pa.uint16()), pa.array([2], pa.uint64()), pa.array(["b"])],
        ["_log", "_partition", "epoch", "owner"],
    )
    await warehouse.insert("fences", fence)
    await warehouse.insert("events", make_events([(0, 4, 9), (0, 5, 2)]), Fence(1, "b", {0: 2}))
    with pytest.raises(WarehouseFencedError):
        await warehouse.insert("events", make_events([(0, 6, 0)]), Fence(1, "a", {0: 1}))
    await warehouse.insert("probe", make_events([(0, 7, 0)]))
    await warehouse.command("DELETE FROM events WHERE _offset = 5")
    assert (await read_marks(warehouse, 1)).landed == {(0, 202611): (4, 9)}
    await warehouse.stop_inserts(["a", "b"])
    assert await migrate(warehouse) == []


async def test_a_cluster_that_is_not_as_the_url_says_is_refused(
    cluster_door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, one = cluster_door.url, cluster_door.url.rpartition("@")[2]
    with pytest.raises(WarehouseError, match="knows no cluster 'other'"):
        Warehouse(f"{url}/?cluster=other", 1, "default")
    with pytest.raises(WarehouseError, match="has 1 shards, and the URL names 2 servers"):
        Warehouse(f"{url},{one}/?cluster=pulse", 1, "default")
    monkeypatch.setattr(shards_module, "SHARDS", shards_module.SHARDS.replace("is_local AND", "NOT is_local AND"))
    with pytest.raises(WarehouseError, match="not the first replica of shard 1"):
        Warehouse(f"{url}/?cluster=pulse", 1, "default")


def test_the_servers_of_a_cluster_stand_in_the_url() -> None:
    address = Address([Host("h1", 8123), Host("h2", 8123)], "pulse", "u", "", cluster="c")
    assert [str(host) for host in address.hosts] == ["h1:8123", "h2:8123"]
