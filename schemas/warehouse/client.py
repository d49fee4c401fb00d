"""The one door to the warehouse: a small pool of handles used in threads.

`chdb:///absolute/path` runs the engine in this process (one process a folder), `clickhouse://…` asks a server over
HTTP: the same SQL, the same code. Every statement runs with the settings of `PINNED`, read back before the first.
"""

from __future__ import annotations

import asyncio
import queue
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from schemas.warehouse.address import DATABASE, is_server, to_address
from schemas.warehouse.embedded_handle import EmbeddedHandle, prepare_embedded
from schemas.warehouse.errors import WarehouseError
from schemas.warehouse.server_handle import ServerHandle, prepare_server
from schemas.warehouse.settings import BLOCK_ROWS, PINNED, Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pyarrow as pa

    from schemas.warehouse.fence import Fence
    from schemas.warehouse.handle import Handle

__all__ = ["BLOCK_ROWS", "PINNED", "Limits", "Warehouse"]
T = TypeVar("T")


class Warehouse:
    """A pool of `size` handles, each used by one thread at a time.

    `is_shared` says that other processes may write to it: only then does a fence mean anything.
    """

    def __init__(self, url: str, size: int = 4, database: str = "") -> None:
        """Open it and make our database if it is not there; raise WarehouseError when it cannot be had.

        Without a name the database is that of the URL, or `pulse`.
        """
        self.is_shared = is_server(url)
        self._handles: queue.SimpleQueue[Handle] = queue.SimpleQueue()
        self._size = size
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="warehouse")
        for handle in open_handles(url, size, database):
            self._handles.put(handle)

    async def query(
        self, sql: str, parameters: Mapping[str, object] | None = None, limits: Limits | None = None
    ) -> pa.Table:
        """Run a SELECT and give its columns. Parameters are bound by the server ({name:Type}), never pasted.

        Raise WarehouseLimitError, WarehouseMovedError (its throwIf), WarehouseError. It may run twice.
        """
        return await self._run(lambda handle: handle.query(sql, parameters or {}, limits or Limits()))

    async def insert(self, table: str, rows: pa.Table, fence: Fence | None = None) -> None:
        """Insert all rows as one block; return only when the engine says that it wrote exactly as many.

        At most `BLOCK_ROWS` rows and of one warehouse partition, else a crash may leave a part of them. With a `fence`
        a server refuses them (WarehouseFencedError) once somebody else has taken over; the embedded engine has only
        one process and looks at none. Never sent twice. Raise WarehouseUnknownError where it cannot be told what became
        of them, and for what certainly left nothing WarehouseError (server_insert.py says which is which).
        """
        if not rows.num_rows:
            return
        if rows.num_rows > BLOCK_ROWS:
            message = f"{table}: {rows.num_rows} rows do not go into one block of {BLOCK_ROWS}"
            raise WarehouseError(message)
        await self._run(lambda handle: handle.insert(table, rows, fence))

    async def stop_inserts(self, owners: Sequence[str]) -> None:
        """Return when no fenced insert of these owners runs any more; those that did were killed or have finished."""
        await self._run(lambda handle: handle.stop_inserts(owners))

    async def command(self, sql: str, parameters: Mapping[str, object] | None = None) -> None:
        """Run a statement that answers nothing (DDL, ALTER, OPTIMIZE), once.

        Raise WarehouseUnknownError where it may have worked all the same, may still run or even begin later.
        """
        await self._run(lambda handle: handle.command(sql, parameters or {}))

    async def check_disk(self) -> None:
        """Return if the disk took all that the engine wrote, also by itself; else mend and raise WarehouseDiskError.

        A server looks after its own disk: nothing is done.
        """
        await self._run(lambda handle: handle.check_disk())

    async def ping(self) -> None:
        """Return if the engine answers and there is room to write, else raise WarehouseError."""
        await self._run(lambda handle: handle.ping())

    async def close(self) -> None:
        """Wait for what runs, then close every handle; an engine in this process lets go of its folder."""
        await asyncio.to_thread(self._threads.shutdown, wait=True)
        for _ in range(self._size):
            self._handles.get_nowait().close()

    async def _run(self, call: Callable[[Handle], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._call, call)

    def _call(self, call: Callable[[Handle], T]) -> T:
        handle = self._handles.get()
        try:
            return call(handle)
        finally:
            self._handles.put(handle)


def open_handles(url: str, size: int, database: str) -> list[Handle]:
    """So many handles on the database that the URL and the name mean, made if it is not there."""
    if is_server(url):
        address = to_address(url)
        name = database or address.database
        prepare_server(address, name)
        return [ServerHandle(address, name) for _ in range(size)]
    name = database or DATABASE
    prepare_embedded(url, name)
    return [EmbeddedHandle(url, name) for _ in range(size)]
