"""Runs the queries of one question: rows of whole numbers and texts come back, within the limits of a query."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from query_api.planner import Plan
from schemas.warehouse.errors import WarehouseMovedError

if TYPE_CHECKING:
    import pyarrow as pa

    from query_api.question import Question, Range
    from schemas.warehouse.client import Limits, Warehouse

Key = tuple[str, ...]
MOVED_AT_MOST, MOVED_SECONDS = 4, 5.0

# Measured on two cores: day arrays come out of the aggregation in one block, and of one block one thread makes the
# sessions, unless it is cut in two levels.
# The pass that looks for chains of comparisons takes 13 ms to find none in texts as long as ours.
SETTINGS = " SETTINGS group_by_two_level_threshold = 1, max_block_size = 65409, optimize_and_compare_chain = 0"


@dataclass(frozen=True, slots=True)
class Sums:
    """A row of a query: the dimensions by place, and sums by name."""

    key: Key
    sums: dict[str, int]


@dataclass(frozen=True, slots=True)
class Asking:
    """A question with the warehouse that answers it."""

    question: Question
    warehouse: Warehouse
    limits: Limits

    def plan(self, range_: Range) -> Plan:
        """A new plan over a range, with bindings of its own."""
        return Plan(self.question, range_)

    async def read(self, sql: str, plan: Plan) -> list[Sums]:
        """Run a query; columns d0, d1, … are dimensions, all others sums."""
        table = await self._query(sql + SETTINGS, plan)
        names = table.column_names
        keys = [name for name in names if name[0] == "d" and name[1:].isdigit()]
        return [
            Sums(tuple(str(row[name]) for name in keys), {name: int(row[name]) for name in names if name not in keys})
            for row in table.to_pylist()
        ]

    async def _query(self, sql: str, plan: Plan) -> pa.Table:
        """Ask again while rows land that one half of the query has seen and the other not.

        Where that goes on and on, an answer with a few of the latest rows in a wrong place is better than none.
        """
        began = monotonic()
        for _ in range(MOVED_AT_MOST):
            try:
                return await self.warehouse.query(sql, plan.bindings.values, self.limits)
            except WarehouseMovedError:
                if monotonic() > began + MOVED_SECONDS:
                    break
        return await self.warehouse.query(sql.replace("throwIf(", "ignore("), plan.bindings.values, self.limits)
