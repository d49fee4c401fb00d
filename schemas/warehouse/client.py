"""The one door to the warehouse: a small pool of clickhouse-connect clients used in threads.

`chdb:///absolute/path` runs the engine in this process (one process a folder). The same SQL and the same code will
serve `clickhouse://…`. Every handle gets the settings of `PINNED`, and they are read back before it is used.
"""

from __future__ import annotations

import asyncio
import queue
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa
from clickhouse_connect.driver.exceptions import ClickHouseError

from schemas.warehouse.embedded import DiskWatch, connect, refuse_other_options, to_folder
from schemas.warehouse.errors import WarehouseDiskError, WarehouseError, WarehouseLimitError, WarehouseMovedError
from schemas.warehouse.room import refuse_full_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from clickhouse_connect.driver.client import Client

    from schemas.warehouse.fence import Fence

T = TypeVar("T")
WATCH = DiskWatch()  # for the whole process, since the engine counts so
DATABASE = "pulse"

BLOCK_ROWS = 2_000_000

# Defaults of ClickHouse 26.9 that would break exactly-once or split one insert into several parts. With
# a minimum of 0 every record batch of an Arrow file became a part of its own (three of three, measured).
PINNED: Mapping[str, int | str] = {
    "async_insert": 0,
    "insert_deduplicate": 0,
    "deduplicate_insert": "disable",
    "max_insert_threads": 1,
    "max_insert_block_size": BLOCK_ROWS,
    "min_insert_block_size_rows": BLOCK_ROWS,
    "min_insert_block_size_bytes": 0,
    # At its third time the engine compiled a question's expressions, which took 300 to 450 ms and made none faster.
    "compile_expressions": 0,
    "compile_aggregate_expressions": 0,
    "compile_sort_description": 0,
}
OVER_LIMIT = frozenset({159, 160, 241, 307})  # TIMEOUT_EXCEEDED, TOO_SLOW, MEMORY_LIMIT_EXCEEDED, TOO_MANY_BYTES

MOVED = 395  # FUNCTION_THROW_IF_VALUE_IS_NON_ZERO


@dataclass(frozen=True, slots=True)
class Limits:
    """What one query may take: seconds, bytes of memory."""

    seconds: float = 30.0
    memory: int = 2 * 1024**3

    def to_settings(self) -> dict[str, int | float]:
        """As settings that go with the query."""
        return {"max_execution_time": self.seconds, "max_memory_usage": self.memory}


class Warehouse:
    """A pool of `size` client handles, each used by one thread at a time."""

    def __init__(self, url: str, size: int = 4, database: str = DATABASE) -> None:
        """Open the engine and make our database if it is not there; raise WarehouseError when it cannot be had."""
        self._folder = to_folder(url)
        self._clients: queue.SimpleQueue[Client] = queue.SimpleQueue()
        self._size = size
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="warehouse")
        with _as_warehouse_error():
            first = connect(url, "default")
            refuse_other_options(first)
            first.command(f"CREATE DATABASE IF NOT EXISTS {database}")
            first.close()
            for _ in range(size):
                self._clients.put(_pinned(connect(url, database)))

    @property
    def is_shared(self) -> bool:
        """Whether other processes may write to it, so that inserts need a fence: a server, not the embedded engine."""
        return False

    async def query(
        self, sql: str, parameters: Mapping[str, object] | None = None, limits: Limits | None = None
    ) -> pa.Table:
        """Run a SELECT and give its columns. Parameters are bound by the server ({name:Type}), never pasted."""
        settings = (limits or Limits()).to_settings()
        return await self._read(lambda client: client.query_arrow(sql, dict(parameters or {}), settings=settings))

    async def insert(self, table: str, rows: pa.Table, fence: Fence | None = None) -> None:
        """Insert all rows as one block; raise WarehouseError unless the engine says it wrote exactly as many.

        At most `BLOCK_ROWS` rows and of one warehouse partition, else a crash may leave a part of them. With a `fence`
        a server refuses them (WarehouseFencedError) once somebody else has taken over; the embedded engine has only
        one process and looks at none.
        """
        del fence
        if not rows.num_rows:
            return
        if rows.num_rows > BLOCK_ROWS:
            message = f"{table}: {rows.num_rows} rows do not go into one block of {BLOCK_ROWS}"
            raise WarehouseError(message)
        whole = rows.combine_chunks()
        written = await self._write(lambda client: client.insert_arrow(table, whole).written_rows)
        if written != rows.num_rows:
            message = f"{table}: sent {rows.num_rows} rows, {written} were written"
            raise WarehouseError(message)

    async def stop_inserts(self, owners: Sequence[str]) -> None:
        """Return when no fenced insert of these owners runs any more; those that did were killed or have finished."""

    async def command(self, sql: str, parameters: Mapping[str, object] | None = None) -> None:
        """Run a statement that answers nothing (DDL, ALTER, OPTIMIZE)."""
        await self._write(lambda client: client.command(sql, dict(parameters or {})))

    async def check_disk(self) -> None:
        """Return if the disk took all that the engine wrote, also by itself; else mend and raise WarehouseDiskError."""
        await self._run(lambda client: WATCH.check(client, WATCH.known))

    async def ping(self) -> None:
        """Return if the engine answers and there is room to write, else raise WarehouseError."""

        def ask(client: Client) -> None:
            refuse_full_disk(self._folder)
            client.command("SELECT 1")

        await self._run(ask)

    async def close(self) -> None:
        """Wait for what runs, then close every handle; the engine lets go of its folder."""
        await asyncio.to_thread(self._threads.shutdown, wait=True)
        for _ in range(self._size):
            self._clients.get_nowait().close()

    async def _read(self, call: Callable[[Client], T]) -> T:
        """Ask; once more when the failure comes from what the disk did not take, after that has been mended."""
        known = WATCH.known
        try:
            return await self._run(call)
        except (WarehouseLimitError, WarehouseMovedError):
            raise
        except WarehouseError:
            try:
                await self._run(lambda client: WATCH.check(client, known))
            except WarehouseDiskError:
                return await self._run(call)
            raise

    async def _write(self, call: Callable[[Client], T]) -> T:
        """Write; raise WarehouseDiskError where the engine says that all is well and the disk did not take it."""

        def write(client: Client) -> T:
            refuse_full_disk(self._folder)
            known = WATCH.known
            done = call(client)
            WATCH.check(client, known)
            return done

        return await self._run(write)

    async def _run(self, call: Callable[[Client], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._call, call)

    def _call(self, call: Callable[[Client], T]) -> T:
        client = self._clients.get()
        try:
            with _as_warehouse_error():
                return call(client)
        finally:
            self._clients.put(client)


def _pinned(client: Client) -> Client:
    for name, value in PINNED.items():
        client.set_client_setting(name, value)
    names = {"names": list(PINNED)}
    rows = client.query(
        "SELECT name, value FROM system.settings WHERE name IN {names:Array(String)}", names
    ).result_rows
    wrong = {name: value for name, value in rows if str(PINNED[name]) != value}
    if wrong or len(rows) != len(PINNED):
        message = f"settings that do not hold in the warehouse: {wrong or set(PINNED) - {name for name, _ in rows}}"
        raise WarehouseError(message)
    return client


@contextmanager
def _as_warehouse_error() -> Iterator[None]:
    try:
        yield
    except ClickHouseError as error:
        code = getattr(error, "code", None)
        kind = WarehouseLimitError if code in OVER_LIMIT else WarehouseMovedError if code == MOVED else WarehouseError
        raise kind(str(error)) from error
    except (OSError, pa.ArrowException) as error:  # an insert goes through a temporary file: the disk may be full
        raise WarehouseError(str(error)) from error
