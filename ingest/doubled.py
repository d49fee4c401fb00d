"""Positions of the log that are stored more than once: an alarm, which must never ring. Nothing here deletes.

The copies of a line have the same receipt time, so any span of receipt can be counted by itself; within a block a set
of places is two bytes a line, where a set of positions would be twenty times as much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from prometheus_client import Gauge

from ingest.lately_seen import HOUR
from schemas.warehouse.client import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

    from schemas.warehouse.client import Warehouse

FIRST_LOOK = 48 * HOUR
NEVER = 2**62
LIMITS = Limits(seconds=120, memory=4 * 1024**3)
logger = structlog.get_logger()

DOUBLED = """
SELECT sum(stored - places) AS rows, min(first) AS first
FROM
(
    SELECT count() AS stored, groupBitmap(_place) AS places, min(toUnixTimestamp64Milli(received)) AS first
    FROM events
    WHERE received >= fromUnixTimestamp64Milli({since:Int64}) AND received < fromUnixTimestamp64Milli({until:Int64})
    GROUP BY _log, _partition, _offset HAVING stored > places
)
"""


@dataclass(frozen=True, slots=True)
class Doubled:
    """How many rows too many, and the earliest receipt time (epoch ms) of their blocks, `NEVER` for none."""

    rows: int
    first: int = NEVER


async def count_doubled(warehouse: Warehouse, since: int, until: int = NEVER) -> Doubled:
    """Count rows received in [since, until) (epoch ms) whose position is stored more than once.

    An hour of 42 million rows takes about 100 MB of memory: give it hours, not years. Raise WarehouseError.
    """
    rows = (await warehouse.query(DOUBLED, {"since": since, "until": until}, LIMITS)).to_pylist()
    count = int(rows[0]["rows"] or 0)
    return Doubled(count, int(rows[0]["first"])) if count else Doubled(0)


class DoubledAlarm:
    """Looks at what was received within two days, then at what may have landed since the look before.

    What it has found it keeps looking at, so the alarm rings until the rows are gone.
    """

    def __init__(self, warehouse: Warehouse, registry: CollectorRegistry, clock: Callable[[], int]) -> None:
        self._warehouse = warehouse
        self._clock = clock
        self._since: int | None = None
        self._gauge = Gauge(
            "pulse_positions_doubled", "Rows of events whose log position is stored more than once", registry=registry
        )

    async def look(self, received_up_to: int) -> int:
        """Count, tell the metrics and give the count; to be called once a minute. Raise WarehouseError.

        Everything received before `received_up_to` (epoch ms) has landed: the next look begins an hour before it, since
        collectors have clocks of their own.
        """
        since = self._clock() - FIRST_LOOK if self._since is None else self._since
        found = await count_doubled(self._warehouse, since)
        self._since = min(found.first, received_up_to - HOUR)
        self._gauge.set(found.rows)
        if found.rows:
            logger.error("positions_stored_twice", rows=found.rows, hint="`pulse ledger repair` removes second copies")
        return found.rows

    def rest(self) -> None:
        """Tell the metrics of nothing, since somebody else looks now; the next look is a first one."""
        self._since = None
        self._gauge.set(0)
