"""The ledger: what became of every record, by site and UTC hour of receipt, from two sides that are counted apart.

`received` and `refused` come from the headers that the collector wrote into the log's blocks; `stored`, `bots`,
`duplicate`, `dead_lettered` and `erased` from what the consumer made of the lines. A block that is not consumed yet
counts by its headers only, so the ledger closes at every moment:

    received = stored + bots + duplicate + refused + dead_lettered + in_flight + erased
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from query_api.question import Range, Row
    from schemas.event import SiteId
    from schemas.in_flight import InFlight, ReadInFlight
    from schemas.warehouse.client import Limits, Warehouse

SQL = resources.files("query_api").joinpath("sql/ledger.sql").read_text()
HOUR = timedelta(hours=1)
LOOKS = 3
OUTCOMES = ("stored", "bots", "duplicate", "dead_lettered", "in_flight", "erased")


@dataclass(frozen=True, slots=True)
class LedgerCount:
    """So many records of a site and an hour of receipt (epoch seconds); `reason` only for `kind` refused."""

    site_id: SiteId
    hour: int
    kind: str
    reason: str
    records: int


@dataclass(frozen=True, slots=True)
class OpenHour:
    """A site and an hour of receipt (epoch seconds) whose sides differ, with the figures of the ledger."""

    site_id: SiteId
    hour: int
    figures: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Ledger:
    """One row an hour in which anything was received, over all sites asked for.

    `open` names what does not close, each site and hour by itself.
    """

    rows: list[Row]
    open: list[OpenHour]

    @property
    def closed(self) -> bool:
        """Whether the two sides are equal for every site and hour."""
        return not self.open


async def read_ledger(
    warehouse: Warehouse, read_in_flight: ReadInFlight, sites: Sequence[SiteId], asked: Range, limits: Limits
) -> Ledger:
    """Every hour of receipt that `asked` touches.

    One that does not close is read again: rows that move from one table to another while several are read may be seen
    in both or in none.
    """
    for _ in range(LOOKS - 1):
        ledger = await _read_once(warehouse, read_in_flight, sites, asked, limits)
        if ledger.closed:
            return ledger
    return await _read_once(warehouse, read_in_flight, sites, asked, limits)


async def _read_once(
    warehouse: Warehouse, read_in_flight: ReadInFlight, sites: Sequence[SiteId], asked: Range, limits: Limits
) -> Ledger:
    start, end = _to_hours(asked)
    waiting = await read_in_flight()  # before the rows: what lies before its positions is all there
    positions = {part.partition: part.position for part in waiting}
    parameters = {
        "sites": list(sites),
        "start": start,
        "end": end,
        "log": waiting[0].log if waiting else 0,
        "positions": [positions[partition] for partition in sorted(positions)],
    }
    table = await warehouse.query(SQL, parameters, limits)
    counts = [LedgerCount(**row) for row in table.to_pylist()]
    counts += count_waiting(waiting, frozenset(sites), range(int(start.timestamp()), int(end.timestamp())))
    return add_up(counts)


def count_waiting(waiting: Iterable[InFlight], sites: frozenset[SiteId], hours: range) -> list[LedgerCount]:
    """What the blocks in the log say of these sites and hours; what was not refused is in flight."""
    counts = []
    for header in (header for part in waiting for header in part.headers):
        for count in header.counts:
            if count.site_id not in sites or count.hour not in hours:
                continue
            kind, sign = ("refused", -1) if count.reason else ("received", 1)
            counts.append(LedgerCount(count.site_id, count.hour, kind, count.reason, count.count))
            counts.append(LedgerCount(count.site_id, count.hour, "in_flight", "", sign * count.count))
    return counts


def add_up(counts: Iterable[LedgerCount]) -> Ledger:
    """Sum by hour; look at each site and hour by itself whether it closes."""
    cells: defaultdict[tuple[int, SiteId], Counter[str]] = defaultdict(Counter)
    hours: defaultdict[int, Counter[str]] = defaultdict(Counter)
    refused: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for count in counts:
        cells[count.hour, count.site_id][count.kind] += count.records
        hours[count.hour][count.kind] += count.records
        if count.kind == "refused":
            refused[count.hour][count.reason] += count.records
    rows = [_to_row(hour, hours[hour], refused[hour]) for hour in sorted(hours)]
    return Ledger(rows, [OpenHour(site, hour, cell) for (hour, site), cell in cells.items() if not _is_closed(cell)])


def _is_closed(cell: Counter[str]) -> bool:
    return cell["received"] == cell["refused"] + sum(cell[name] for name in OUTCOMES)


def _to_row(hour: int, figures: Counter[str], refused: Counter[str]) -> Row:
    row: Row = {
        "hour": datetime.fromtimestamp(hour, UTC).isoformat().replace("+00:00", "Z"),
        "received": figures["received"],
        "stored": figures["stored"],
        "bots": figures["bots"],
        "duplicate": figures["duplicate"],
        "refused": dict(sorted(refused.items())),
    }
    return row | {name: figures[name] for name in ("dead_lettered", "in_flight", "erased")}


def _to_hours(asked: Range) -> tuple[datetime, datetime]:
    start = asked.start.replace(minute=0, second=0, microsecond=0)
    last = asked.end.replace(minute=0, second=0, microsecond=0)
    return start, last if last == asked.end else last + HOUR
