"""A handle on a ClickHouse server, or on a cluster by one server of each shard."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from clickhouse_connect.driver.exceptions import ClickHouseError

from schemas.warehouse.cluster import Cluster, to_local
from schemas.warehouse.errors import WarehouseError, WarehouseUnknownError, may_pass
from schemas.warehouse.fence import INSERT_TAG
from schemas.warehouse.handle import as_warehouse_error
from schemas.warehouse.long_lists import split_long_lists
from schemas.warehouse.server import (
    WHOLE_ANSWER,
    Server,
    make_database,
    to_write_error,
)
from schemas.warehouse.server_insert import (
    pick_columns,
    read_columns,
    send_insert,
    to_fenced_insert,
    to_plain_insert,
)
from schemas.warehouse.shards import refuse_other_shards, split_by_shard

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from schemas.warehouse.address import Address
    from schemas.warehouse.fence import Fence
    from schemas.warehouse.settings import Limits

ANSWER_SECONDS = 10.0  # that an answer may come after the query's own limit
COMMAND_SECONDS = 600.0
PING_SECONDS = 5.0
LOOK_SECONDS = 0.02
RUNNING = "SELECT DISTINCT Settings['log_comment'] AS tag FROM system.processes WHERE tag IN {tags:Array(String)}"
STOP = "KILL QUERY WHERE Settings['log_comment'] IN {tags:Array(String)} SYNC"


def prepare_server(address: Address, database: str) -> None:
    """Make the database if it is not there; raise WarehouseError when it cannot be had."""
    make_database(address, address.hosts[0], database)


class ServerHandle:
    """Connections of one thread to the server, or to one of each shard; questions go to the first."""

    def __init__(self, address: Address, database: str) -> None:
        self._cluster = Cluster(address.cluster, database) if address.cluster else None
        self._shards = [Server(address, host, database) for host in address.hosts]
        self._columns: dict[str, dict[str, str]] = {}
        if self._cluster:
            refuse_other_shards(self._shards, self._cluster.name)

    def query(self, sql: str, parameters: Mapping[str, object], limits: Limits) -> pa.Table:
        """Ask; clickhouse-connect asks once more when the connection was closed under it."""
        server = self._shards[0]
        server.wait_at_most(limits.seconds + ANSWER_SECONDS)
        text, values = split_long_lists(sql, parameters)
        with as_warehouse_error():
            return server.client.query_arrow(text, values, settings={**limits.to_settings(), **WHOLE_ANSWER})

    def insert(self, table: str, rows: pa.Table, fence: Fence | None) -> None:
        """Insert in one statement a shard, which its server refuses by itself when the fence is not the highest.

        Over several shards: those before one that failed have landed, so that is unknown.
        """
        landed = False
        for server, part in split_by_shard(self._shards, rows):
            try:
                self._insert(server, table, part, fence)
            except WarehouseError as error:
                if landed and may_pass(error):
                    raise WarehouseUnknownError(str(error)) from error
                raise
            landed = True

    def _insert(self, server: Server, table: str, rows: pa.Table, fence: Fence | None) -> None:
        target, fences = (to_local(table), to_local("fences")) if self._cluster else (table, "fences")
        if fence is None:
            statement = to_plain_insert(target, rows.column_names)
        else:
            statement = to_fenced_insert(target, self._pick_columns(server, target, rows.column_names), fences)
        send_insert(server, statement, rows, fence)

    def command(self, sql: str, parameters: Mapping[str, object]) -> None:
        """Run it once; raise WarehouseUnknownError where it cannot be told whether it was done."""
        server = self._shards[0]
        for statement in self._cluster.rewrite(sql) if self._cluster else [sql]:
            server.wait_at_most(COMMAND_SECONDS)
            try:
                server.client.command(statement, dict(parameters), settings=WHOLE_ANSWER)
            except ClickHouseError as error:
                raise to_write_error(error, server.host) from error

    def stop_inserts(self, owners: Sequence[str]) -> None:
        """Kill what runs until nothing is left; each shard by itself, so that one that is away stops no other."""
        tags = [INSERT_TAG + owner for owner in owners]
        for server in self._shards:
            stop_on(server, tags)

    def check_disk(self) -> None:
        """Nothing: a server looks after its disk, and says it when a write fails."""

    def ping(self) -> None:
        """Return if every server answers."""
        for server in self._shards:
            server.wait_at_most(PING_SECONDS)
            with as_warehouse_error():
                server.client.command("SELECT 1")

    def close(self) -> None:
        """Close the connections."""
        for server in self._shards:
            server.close()

    def _pick_columns(self, server: Server, table: str, names: Sequence[str]) -> dict[str, str]:
        known = self._columns.get(table, {})
        if not known.keys() >= set(names):
            server.wait_at_most(ANSWER_SECONDS)
            with as_warehouse_error():
                known = self._columns[table] = read_columns(server, table)
        return pick_columns(known, names, table)


def stop_on(server: Server, tags: Sequence[str]) -> None:
    """Return when none of the inserts with these tags runs on the server; raise WarehouseError."""
    while running := find_running(server, tags):
        server.wait_at_most(COMMAND_SECONDS)
        with as_warehouse_error():
            server.client.command(STOP, {"tags": running})
        time.sleep(LOOK_SECONDS)


def find_running(server: Server, tags: Sequence[str]) -> list[str]:
    """Those of the tags whose inserts run."""
    server.wait_at_most(ANSWER_SECONDS)
    text, values = split_long_lists(RUNNING, {"tags": list(tags)})
    with as_warehouse_error():
        rows = server.client.query_arrow(text, values, settings=WHOLE_ANSWER)
    return [str(tag) for tag in rows.column("tag").to_pylist()]
