"""What the warehouse needs of a connection: the engine in this process and a server over HTTP each give it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa
from clickhouse_connect.driver.exceptions import ClickHouseError

from schemas.warehouse.errors import WarehouseError, WarehouseLimitError, WarehouseMovedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from schemas.warehouse.fence import Fence
    from schemas.warehouse.settings import Limits

OVER_LIMIT = frozenset({159, 160, 241, 307})  # TIMEOUT_EXCEEDED, TOO_SLOW, MEMORY_LIMIT_EXCEEDED, TOO_MANY_BYTES
MOVED = 395  # FUNCTION_THROW_IF_VALUE_IS_NON_ZERO


class Handle(Protocol):
    """One connection, used by one thread at a time; every failure is a WarehouseError (see `Warehouse`)."""

    def query(self, sql: str, parameters: Mapping[str, object], limits: Limits) -> pa.Table:
        """The columns that a SELECT gives."""

    def insert(self, table: str, rows: pa.Table, fence: Fence | None) -> None:
        """All the rows as one block, or none."""

    def command(self, sql: str, parameters: Mapping[str, object]) -> None:
        """A statement that answers nothing."""

    def stop_inserts(self, owners: Sequence[str]) -> None:
        """Return when no fenced insert of these owners runs."""

    def check_disk(self) -> None:
        """Return if the disk took all that was written."""

    def ping(self) -> None:
        """Return if it answers and may write."""

    def close(self) -> None:
        """Let go of it."""


@contextmanager
def as_warehouse_error() -> Iterator[None]:
    """Raise what the client raises as the WarehouseError that it means for a question."""
    try:
        yield
    except ClickHouseError as error:
        code = getattr(error, "code", None)
        kind = WarehouseLimitError if code in OVER_LIMIT else WarehouseMovedError if code == MOVED else WarehouseError
        raise kind(str(error)) from error
    except (OSError, pa.ArrowException) as error:  # an insert goes through a temporary file: the disk may be full
        raise WarehouseError(str(error)) from error
