"""The engine in this process (chDB): how it is started, and how a disk that fails under it is noticed and mended.

chDB 26.9 reports success when the disk does not take what it writes: parts of inserts and of merges are put to use with
empty or cut files (measured 2026-11-21 on a full disk and with a limit on file size; fsync changes nothing). What it
does keep is a count of failed writes. So there is always room left over, each write of ours is followed by a look at
that count, and when it has grown the tables are read in anew: a broken part is then set aside (`broken-on-start_…` in
the table's folder `detached`) and the parts that it was merged from, kept for two minutes, stand in for it.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import clickhouse_connect
import structlog
from clickhouse_connect.driver.exceptions import ClickHouseError

from schemas.warehouse.address import to_folder
from schemas.warehouse.errors import WarehouseDiskError, WarehouseError
from schemas.warehouse.room import KEPT_FREE, refuse_full_disk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clickhouse_connect.driver.client import Client

MEMORY = 4 * 1024**3
# Besides the memory: caches of 5 GiB each would outgrow a small machine.
CACHES: Mapping[str, int] = {
    "mark_cache_size": 128 * 1024**2,
    "index_mark_cache_size": 32 * 1024**2,
    "primary_index_cache_size": 128 * 1024**2,
}
KEEP_FREE = "storage_configuration.disks.default.keep_free_space_bytes"

FAILED_WRITES = "SELECT value FROM system.events WHERE event = 'WriteBufferFromFileDescriptorWriteFailed'"
TABLES = "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'"
DETACHED = "SELECT table FROM system.detached_tables WHERE database = currentDatabase()"
ATTEMPTS = 400  # longer than a query may take
ATTEMPT_SECONDS = 0.1
log = structlog.get_logger()


def connect(url: str, database: str) -> Client:
    """A handle on the engine, which is started for the first; raise WarehouseDiskError when the disk is full."""
    folder = to_folder(url)
    folder.mkdir(parents=True, exist_ok=True)
    refuse_full_disk(folder)
    options = {"max_server_memory_usage": memory_limit(), **CACHES, KEEP_FREE: KEPT_FREE}
    return clickhouse_connect.get_client(interface="chdb", path=str(folder), database=database, chdb_options=options)


def memory_limit() -> int:
    """Bytes that the engine may take in all: half of the machine's memory, at most 4 GiB."""
    return min(MEMORY, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)


def refuse_other_options(client: Client) -> None:
    """Raise WarehouseError unless the memory limit, the cache sizes and the room kept free are ours."""
    wanted = {"max_server_memory_usage": memory_limit(), **CACHES, KEEP_FREE: KEPT_FREE}
    rows = client.query(
        "SELECT name, value FROM system.server_settings WHERE name IN {names:Array(String)}", {"names": list(wanted)}
    ).result_rows
    found = {name: int(value) for name, value in rows}
    ((found[KEEP_FREE],),) = client.query("SELECT keep_free_space FROM system.disks WHERE name = 'default'").result_rows
    if found != wanted:
        message = f"the engine runs with {found}, not with {wanted}: it was started by something else in this process"
        raise WarehouseError(message)


class DiskWatch:
    """Notices writes that failed and mends what they broke. One for the process, like the engine and its count."""

    def __init__(self) -> None:
        """No write has failed yet."""
        self._lock = threading.Lock()
        self._known = 0

    @property
    def known(self) -> int:
        """How many failed writes have been seen, and mended."""
        return self._known

    def check(self, client: Client, known: int) -> None:
        """Return if no write has failed since there were `known`; else mend the tables and raise WarehouseDiskError."""
        if count_failed_writes(client) == known:
            return
        with self._lock:
            failed = count_failed_writes(client)
            if failed != self._known:
                log.error("disk_failed_writes", count=failed - self._known, hint="the tables are read in anew")
                reload_tables(client)
                self._known = failed
        message = f"{failed - known} writes to the disk failed; what they broke has been set aside"
        raise WarehouseDiskError(message)


def count_failed_writes(client: Client) -> int:
    """Writes of the engine in this process that the disk did not take, since the process began."""
    rows = client.query(FAILED_WRITES).result_rows
    return int(rows[0][0]) if rows else 0


def reload_tables(client: Client) -> None:
    """Read every table in anew: the engine sets aside parts that are not whole and takes those that they replaced."""
    for (table,) in client.query(DETACHED).result_rows:  # by an attempt that failed
        attach(client, table)
    for (table,) in client.query(TABLES).result_rows:
        client.command(f"DETACH TABLE {table}")
        attach(client, table)
        log.info("table_read_in", table=table)


def attach(client: Client, table: str) -> None:
    """Take the table back as soon as no query uses what it was before; raise the engine's error if that never is."""
    for attempt in range(ATTEMPTS):
        try:
            client.command(f"ATTACH TABLE IF NOT EXISTS {table}")
        except ClickHouseError:
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(ATTEMPT_SECONDS)
        else:
            return
