"""The settings that every statement runs with, on the engine in this process and on a server alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from schemas.warehouse.errors import WarehouseError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

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
# What the embedded engine has by itself, and a profile of a server may change.
PINNED_ON_SERVERS: Mapping[str, int | str] = {
    "deduplicate_insert_select": "disable",
    "session_timezone": "UTC",
    "enable_analyzer": 1,
    "join_use_nulls": 0,
    "transform_null_in": 0,
    "group_by_use_nulls": 0,
    "prefer_column_name_to_alias": 0,
    "final": 0,
    "use_query_cache": 0,
    "lightweight_deletes_sync": 2,
    "alter_sync": 2,
    "output_format_arrow_compression_method": "lz4_frame",
    "output_format_arrow_low_cardinality_as_dictionary": 0,
    "output_format_arrow_date_as_uint16": 0,
}
# Unknown to servers before 25.12 and 26.2, which do by themselves what these are pinned to. (There a Date is given as
# UInt16; questions that want dates ask for Date32.)
NEWER = frozenset({"deduplicate_insert", "deduplicate_insert_select", "output_format_arrow_date_as_uint16"})
SELECT_NAMES = "SELECT name, value FROM system.settings WHERE name IN {names:Array(String)}"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one query may take: seconds, bytes of memory."""

    seconds: float = 30.0
    memory: int = 2 * 1024**3

    def to_settings(self) -> dict[str, int | float]:
        """As settings that go with the query."""
        return {"max_execution_time": self.seconds, "max_memory_usage": self.memory}


def refuse_other_settings(wanted: Mapping[str, int | str], found: Iterable[Sequence[str]]) -> None:
    """Raise WarehouseError unless the (name, value) pairs that were read back are the wanted ones, all of them."""
    rows = list(found)
    wrong = {name: value for name, value in rows if str(wanted[name]) != value}
    if wrong or len(rows) != len(wanted):
        message = f"settings that do not hold in the warehouse: {wrong or set(wanted) - {name for name, _ in rows}}"
        raise WarehouseError(message)
