"""The ledger of a warehouse up to given positions of its log: what two copies of it are compared by.

Counted as `query_api/sql/ledger.sql` counts, but for all sites, for named logs alone and up to a named erasure: so the
answer stays the same while more lands.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from schemas.warehouse.client import Limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from schemas.warehouse.client import Warehouse

PATIENT = Limits(seconds=3600.0, memory=3 * 1024**3)
LOGS = """
SELECT DISTINCT _log FROM (SELECT DISTINCT _log FROM events UNION ALL SELECT DISTINCT _log FROM receipts) ORDER BY _log
"""
LAST_ERASURE = "SELECT max(erasure) AS erasure FROM erased"
BELOW = (
    "has({logs:Array(UInt16)}, _log) AND (_log != {log:UInt16} OR _offset < {positions:Array(UInt64)}[_partition + 1])"
)
CELLS = f"""
SELECT site_id, toUInt32(hour) AS hour, kind, reason, toUInt64(sum(records)) AS records
FROM
(
    SELECT site_id, hour, if(reason = '', 'received', 'refused') AS kind, reason, toUInt64(records) AS records
    FROM receipts FINAL WHERE {BELOW}

    UNION ALL
    SELECT site_id, toStartOfHour(toDateTime(received, 'UTC')), if(bot = '', 'stored', 'bots') AS kind, '', count()
    FROM events WHERE {BELOW} GROUP BY ALL

    UNION ALL
    SELECT site_id, hour, 'duplicate', '', count() FROM duplicates FINAL WHERE {BELOW} GROUP BY ALL

    UNION ALL
    SELECT site_id, hour, 'dead_lettered', '', count() FROM dead_letters FINAL
    WHERE NOT (retried AND (_log != {{log:UInt16}} OR retry_offset < {{positions:Array(UInt64)}}[retry_partition + 1]))
        AND {BELOW}
    GROUP BY ALL

    UNION ALL
    SELECT site_id, hour, 'erased', '', sum(records) + sum(bots) FROM erased FINAL
    WHERE erasure <= {{erasure:UInt64}} GROUP BY ALL
)
GROUP BY site_id, hour, kind, reason HAVING records > 0
ORDER BY site_id, hour, kind, reason
"""  # noqa: S608 - texts of this module

CellKey: TypeAlias = "tuple[int, int, str, str]"  # site, hour of receipt (epoch seconds), kind, reason of a refusal
Cells: TypeAlias = "dict[CellKey, int]"


@dataclass(frozen=True, slots=True)
class Extent:
    """What is counted: these logs, that one only before `positions` (by partition), erasures up to `erasure`."""

    logs: Sequence[int]
    log: int
    positions: Sequence[int]
    erasure: int

    def to_parameters(self) -> dict[str, object]:
        """As the statements here take it."""
        places = {"logs": list(self.logs), "log": self.log, "positions": list(self.positions)}
        return places | {"erasure": self.erasure}


async def read_extent(warehouse: Warehouse, log: int, positions: Mapping[int, int]) -> Extent:
    """All that the warehouse holds before these positions of the log."""
    logs = (await warehouse.query(LOGS)).column("_log").to_pylist()
    erasure = (await warehouse.query(LAST_ERASURE)).column("erasure").to_pylist()[0]
    return Extent(sorted({*logs, log}), log, [positions[partition] for partition in sorted(positions)], int(erasure))


async def read_cells(warehouse: Warehouse, extent: Extent) -> Cells:
    """Every count of the ledger."""
    rows = (await warehouse.query(CELLS, extent.to_parameters(), PATIENT)).to_pylist()
    return {(row["site_id"], row["hour"], row["kind"], row["reason"]): row["records"] for row in rows}


def find_open(cells: Cells) -> list[str]:
    """The sites and hours in which received is not the sum of what became of it."""
    sums: defaultdict[tuple[int, int], Counter[str]] = defaultdict(Counter)
    for (site, hour, kind, _), records in cells.items():
        sums[site, hour]["received" if kind == "received" else "told"] += records
    return [
        f"site {site}, {to_text(hour)}: received {found['received']}, told of {found['told']}"
        for (site, hour), found in sorted(sums.items())
        if found["received"] != found["told"]
    ]


def find_differences(wanted: Cells, found: Cells, names: tuple[str, str]) -> list[str]:
    """The counts that differ; `names` say what the two sides are."""
    return [
        f"site {key[0]}, {to_text(key[1])}, {' '.join(key[2:]).strip()}: "
        f"{names[0]} {wanted.get(key, 0)}, {names[1]} {found.get(key, 0)}"
        for key in sorted(wanted.keys() | found.keys())
        if wanted.get(key, 0) != found.get(key, 0)
    ]


def to_text(hour: int) -> str:
    """An hour as people read it."""
    return datetime.fromtimestamp(hour, UTC).strftime("%Y-%m-%d %H:00Z")


def to_list(cells: Cells) -> list[list[int | str]]:
    """As JSON."""
    return [[*key, records] for key, records in cells.items()]


def from_list(rows: Iterable[Sequence[int | str]]) -> Cells:
    """From JSON."""
    return {(int(site), int(hour), str(kind), str(reason)): int(records) for site, hour, kind, reason, records in rows}


def count_kinds(cells: Cells) -> dict[str, int]:
    """The sum of each kind over all sites and hours."""
    sums: Counter[str] = Counter()
    for (_, _, kind, _), records in cells.items():
        sums[kind] += records
    return dict(sums)
