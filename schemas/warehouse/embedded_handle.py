"""A handle on the engine in this process: what is written is followed by a look at the disk (see embedded.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from schemas.warehouse.address import to_folder
from schemas.warehouse.embedded import DiskWatch, connect, refuse_other_options
from schemas.warehouse.errors import WarehouseDiskError, WarehouseError, WarehouseLimitError, WarehouseMovedError
from schemas.warehouse.handle import as_warehouse_error
from schemas.warehouse.room import refuse_full_disk
from schemas.warehouse.settings import PINNED, SELECT_NAMES, refuse_other_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pyarrow as pa
    from clickhouse_connect.driver.client import Client

    from schemas.warehouse.fence import Fence
    from schemas.warehouse.settings import Limits

T = TypeVar("T")
WATCH = DiskWatch()  # for the whole process, since the engine counts so


def prepare_embedded(url: str, database: str) -> None:
    """Start the engine and make the database if it is not there; raise WarehouseError when it cannot be had."""
    with as_warehouse_error():
        first = connect(url, "default")
        refuse_other_options(first)
        first.command(f"CREATE DATABASE IF NOT EXISTS {database}")
        first.close()


class EmbeddedHandle:
    """One handle of the engine in this process."""

    def __init__(self, url: str, database: str) -> None:
        self._folder = to_folder(url)
        with as_warehouse_error():
            self._client = pinned(connect(url, database))

    def query(self, sql: str, parameters: Mapping[str, object], limits: Limits) -> pa.Table:
        """Ask; once more when the failure comes from what the disk did not take, after that has been mended."""
        known = WATCH.known
        settings = limits.to_settings()

        def ask() -> pa.Table:
            with as_warehouse_error():
                return self._client.query_arrow(sql, dict(parameters), settings=settings)

        try:
            return ask()
        except (WarehouseLimitError, WarehouseMovedError):
            raise
        except WarehouseError:
            try:
                self._check(known)
            except WarehouseDiskError:
                return ask()
            raise

    def insert(self, table: str, rows: pa.Table, fence: Fence | None) -> None:
        """Insert and compare what was written with what was sent. No fence is looked at: there is one process."""
        del fence
        whole = rows.combine_chunks()
        written = self._write(lambda client: client.insert_arrow(table, whole).written_rows)
        if written != rows.num_rows:
            message = f"{table}: sent {rows.num_rows} rows, {written} were written"
            raise WarehouseError(message)

    def command(self, sql: str, parameters: Mapping[str, object]) -> None:
        """Run it."""
        self._write(lambda client: client.command(sql, dict(parameters)))

    def stop_inserts(self, owners: Sequence[str]) -> None:
        """Nothing: whoever held the folder before is dead, and its inserts with it."""

    def check_disk(self) -> None:
        """Return if the disk took all that the engine wrote, also by itself; else mend and raise WarehouseDiskError."""
        self._check(WATCH.known)

    def ping(self) -> None:
        """Return if the engine answers and there is room to write."""
        refuse_full_disk(self._folder)
        with as_warehouse_error():
            self._client.command("SELECT 1")

    def close(self) -> None:
        """Close the handle; with the last one the engine lets go of its folder."""
        self._client.close()

    def _write(self, call: Callable[[Client], T]) -> T:
        """Write; raise WarehouseDiskError where the engine says that all is well and the disk did not take it."""
        refuse_full_disk(self._folder)
        known = WATCH.known
        with as_warehouse_error():
            done = call(self._client)
        self._check(known)
        return done

    def _check(self, known: int) -> None:
        with as_warehouse_error():
            WATCH.check(self._client, known)


def pinned(client: Client) -> Client:
    """The client with our settings in force; raise WarehouseError when one does not hold."""
    for name, value in PINNED.items():
        client.set_client_setting(name, value)
    refuse_other_settings(PINNED, client.query(SELECT_NAMES, {"names": list(PINNED)}).result_rows)
    return client
