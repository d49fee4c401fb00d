"""Counts once more, from the log itself: is every line of every block where it belongs, and nothing else anywhere?

Piece by piece: some blocks of one log partition, and what the warehouse says of these positions. Everything a piece
needs is read for it and forgotten after it. Rows that were erased are gone on purpose: what is missing is given with
the number of records that were erased of that site and hour; whoever adds up the pieces compares.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ingest.block_lines import RECEIVED, SITE, split_lines, to_hour
from ingest.dead_letters import DeadLetters
from ingest.log import LogDamagedError
from ingest.problems import EXAMPLES, Problem
from schemas.warehouse.client import Limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from ingest.log import EventLog, Record
    from schemas.warehouse.client import Warehouse

    Keys: TypeAlias = NDArray[np.uint64]

READ_BYTES = 8 * 1024**2
HOUR = 3600
PLACE_BITS = np.uint64(32)
PLACES = (1 << 32) - 1
LIMITS = Limits(seconds=120, memory=4 * 1024**3)

HERE = """_log = {log:UInt16} AND _partition = {partition:UInt16}
    AND _offset >= {begin:UInt64} AND _offset < {end:UInt64}"""
HOURS = "hour >= toDateTime({first:UInt32}, 'UTC') AND hour < toDateTime({last:UInt32}, 'UTC')"
STORED = f"""
SELECT _offset, _place, count() AS rows FROM events
WHERE received >= toDateTime({{first:UInt32}}, 'UTC') AND received < toDateTime({{last:UInt32}}, 'UTC') AND {HERE}
GROUP BY _offset, _place
"""  # noqa: S608 - text of this module
MOVING = f"SELECT DISTINCT _offset, _place FROM moving WHERE {HERE}"  # noqa: S608 - text of this module
DUPLICATES = f"""
SELECT DISTINCT _offset, _place FROM duplicates WHERE {HOURS} AND {HERE}
"""  # noqa: S608 - text of this module
DEAD = f"SELECT DISTINCT _offset, _place FROM dead_letters WHERE {HERE}"  # noqa: S608 - text of this module
RECEIPTS = f"""
SELECT site_id, toUInt32(hour) AS hour, _offset, reason, records FROM receipts FINAL
WHERE {HOURS} AND {HERE} AND site_id != 0
"""  # noqa: S608 - text of this module
ERASED = """
SELECT site_id, toUInt32(hour) AS hour, sum(records + bots) AS records
FROM
(
    SELECT site_id, hour, records, bots FROM erased FINAL WHERE site_id IN {sites:Array(UInt32)}
    UNION ALL
    SELECT site_id, hour, records, bots FROM erasing
    WHERE site_id IN {sites:Array(UInt32)} AND erasure NOT IN (SELECT erasure FROM erased)
)
WHERE hour IN {hours:Array(UInt32)} GROUP BY site_id, hour
"""

SiteHour: TypeAlias = tuple[int, int]
Receipt: TypeAlias = tuple[int, int, int, str, int]


@dataclass(frozen=True, slots=True)
class Piece:
    """What was found in some blocks of a partition; the next one begins at `next`, None after the last."""

    next: int | None
    blocks: int = 0
    lines: int = 0
    problems: Sequence[Problem] = field(default=())


@dataclass(frozen=True, slots=True)
class Blocks:
    """Blocks of one partition in order, at positions from `begin` to before `end`."""

    partition: int
    begin: int
    end: int
    records: Sequence[Record]

    @property
    def hours(self) -> tuple[int, int]:
        """The hours of receipt (epoch seconds) from the first to before the last."""
        hours = [to_hour(at) for one in self.records for at in (one.headers.first_received, one.headers.last_received)]
        hours += [count.hour for one in self.records for count in one.headers.counts]
        return min(hours), max(hours) + HOUR

    def touches(self, hours: range) -> bool:
        """Whether any of them was received in these hours."""
        first, last = self.hours
        return first < hours.stop and last > hours.start

    def to_keys(self, rows: pa.Table) -> Keys:
        """Offset and place of each row as one number."""
        offsets = rows.column("_offset").to_numpy().astype(np.uint64) - np.uint64(self.begin)
        keys: Keys = (offsets << PLACE_BITS) | rows.column("_place").to_numpy().astype(np.uint64)
        return keys

    def to_expected(self, left_out: set[int]) -> Keys:
        """The same of every line that must be somewhere; nothing of the blocks at the positions left out."""
        keys = [
            (np.uint64(one.position - self.begin) << PLACE_BITS) | np.arange(count_lines(one), dtype=np.uint64)
            for one in self.records
            if one.position not in left_out
        ]
        return np.concatenate([np.empty(0, np.uint64), *keys])

    def to_examples(self, keys: Keys) -> list[str]:
        """The first of them as partition:offset:place."""
        first = np.sort(keys)[:EXAMPLES].tolist()
        return [f"{self.partition}:{self.begin + (key >> int(PLACE_BITS))}:{key & PLACES}" for key in first]


class Verifier:
    """Compares one log with the warehouse."""

    def __init__(self, warehouse: Warehouse, log: EventLog, number: int) -> None:
        self._warehouse = warehouse
        self._log = log
        self._number = number
        self._letters = DeadLetters(warehouse, log, number)

    async def verify(self, partition: int, position: int, end: int, hours: range) -> Piece:
        """Look at some blocks from `position` on, all below `end`, which must have been consumed.

        What the log has let go of is left out, and blocks wholly outside of these hours of receipt (epoch seconds).
        Raise LogUnavailableError, WarehouseError.
        """
        begin = max(position, (await self._log.bounds(partition)).begin)
        if begin >= end:
            return Piece(None)
        try:
            blocks = await self._read(partition, begin, end)
        except LogDamagedError:
            return await self._skip_damage(partition, begin, end)
        following = blocks.end if blocks.end < end else None
        if not blocks.records or not blocks.touches(hours):
            return Piece(following)
        problems = [*find_wrong_lines(blocks), *await self._find_wrong_receipts(blocks)]
        problems += await self._find_wrong_rows(blocks)
        return Piece(following, len(blocks.records), sum(map(count_lines, blocks.records)), problems)

    async def _read(self, partition: int, begin: int, end: int) -> Blocks:
        """Blocks from there on. Raise LogDamagedError where the first one cannot be read."""
        try:
            found = await self._log.read(partition, begin, READ_BYTES)
        except LogDamagedError:  # maybe of one that comes later
            found = await self._log.read(partition, begin, 1)
        records = [record for record in found if record.position < end]
        whole = len(records) == len(found) and found
        return Blocks(partition, begin, records[-1].position + 1 if whole else end, records)

    async def _skip_damage(self, partition: int, begin: int, end: int) -> Piece:
        """Go on after a block that cannot be read, and name it unless the log has let go of it meanwhile."""
        if (await self._log.bounds(partition)).begin > begin:
            return Piece(begin + 1)
        problem = Problem("unreadable", 1, to_examples(partition, [begin]))
        return Piece(begin + 1 if begin + 1 < end else None, problems=[problem])

    async def _find_wrong_receipts(self, blocks: Blocks) -> list[Problem]:
        rows = (await self._ask(RECEIPTS, blocks)).to_pylist()
        found = {(row["_offset"], row["site_id"], row["hour"], row["reason"], row["records"]) for row in rows}
        wrong = {receipt[0] for receipt in found ^ to_receipts(blocks.records)}
        return [Problem("receipts", len(wrong), to_examples(blocks.partition, wrong))] if wrong else []

    async def _find_wrong_rows(self, blocks: Blocks) -> list[Problem]:
        expected = np.sort(blocks.to_expected(await self._find_dropped(blocks)))
        stored = await self._ask(STORED, blocks)
        keys = blocks.to_keys(stored)
        moving = blocks.to_keys(await self._ask(MOVING, blocks))
        aside = [np.union1d(moving, blocks.to_keys(await self._ask(DUPLICATES, blocks)))]
        aside.append(blocks.to_keys(await self._ask(DEAD, blocks)))
        everywhere = np.concatenate([np.setdiff1d(keys, moving), *aside])
        several, counts = np.unique(everywhere, return_counts=True)
        found = {
            "doubled": keys[stored.column("rows").to_numpy() > 1],
            "torn": several[counts > 1],
            "foreign": np.setdiff1d(several, expected),
        }
        problems = [Problem(kind, len(some), blocks.to_examples(some)) for kind, some in found.items() if len(some)]
        return problems + await self._explain(blocks, np.setdiff1d(expected, several))

    async def _find_dropped(self, blocks: Blocks) -> set[int]:
        """Positions of blocks that retry a dead letter that another block has retried: they leave nothing."""
        retries = [(one.position, one.headers.retry_of) for one in blocks.records]
        letters = await self._letters.find([letter for _, letter in retries if letter is not None])
        return {
            position
            for position, retried in retries
            if retried is not None
            and (letter := letters.get(retried)) is not None
            and letter.retried
            and (letter.retry_partition, letter.retry_offset) != (blocks.partition, position)
        }

    async def _explain(self, blocks: Blocks, missing: Keys) -> list[Problem]:
        """What is missing by site and hour, with what was erased of them."""
        if not len(missing):
            return []
        groups = group_by_hour(blocks, missing)
        sites, hours = ({key[place] for key in groups} for place in (0, 1))
        rows = await self._warehouse.query(ERASED, {"sites": sorted(sites), "hours": sorted(hours)}, LIMITS)
        erased = {(row["site_id"], row["hour"]): int(row["records"]) for row in rows.to_pylist()}
        return [
            Problem("missing", len(keys), blocks.to_examples(np.array(keys, np.uint64)), *key, erased.get(key, 0))
            for key, keys in sorted(groups.items())
        ]

    async def _ask(self, sql: str, blocks: Blocks) -> pa.Table:
        first, last = blocks.hours
        parameters = {
            "log": self._number,
            "partition": blocks.partition,
            "begin": blocks.begin,
            "end": blocks.end,
            "first": first,
            "last": last,
        }
        return await self._warehouse.query(sql, parameters, LIMITS)


def count_lines(record: Record) -> int:
    """How many places a block has; what is no block of ours is one line, whatever it holds."""
    return len(split_lines(record.body)) if record.headers.version else 1


def find_wrong_lines(blocks: Blocks) -> list[Problem]:
    """Blocks whose lines are not as many as their header counts accepted records."""
    wrong = [
        one.position
        for one in blocks.records
        if one.headers.version
        and one.headers.retry_of is None
        and count_lines(one) != sum(-count.count if count.reason else count.count for count in one.headers.counts)
    ]
    return [Problem("lines", len(wrong), to_examples(blocks.partition, wrong))] if wrong else []


def to_receipts(records: Sequence[Record]) -> set[Receipt]:
    """What the headers count, as the table of receipts holds it."""
    return {
        (one.position, count.site_id, count.hour, count.reason, count.count)
        for one in records
        for count in one.headers.counts
    }


def to_examples(partition: int, positions: Iterable[int]) -> list[str]:
    """The first of them as partition:offset."""
    return [f"{partition}:{position}" for position in sorted(positions)[:EXAMPLES]]


def group_by_hour(blocks: Blocks, keys: Keys) -> Mapping[SiteHour, list[int]]:
    """The keys by the site and hour of receipt that their lines name."""
    groups: dict[SiteHour, list[int]] = {}
    by_position = {one.position: one for one in blocks.records}
    cut: tuple[int, list[bytes]] = (-1, [])
    for key in np.sort(keys).tolist():
        position = blocks.begin + (key >> int(PLACE_BITS))
        record = by_position[position]
        if cut[0] != position:
            cut = position, split_lines(record.body) if record.headers.version else [record.body]
        groups.setdefault(to_site_hour(cut[1][key & PLACES], record), []).append(key)
    return groups


def to_site_hour(line: bytes, record: Record) -> SiteHour:
    """Whose line it is and in which hour it was received, as far as it can be read."""
    site, received = SITE.search(line), RECEIVED.search(line)
    hour = to_hour(int(received[1])) if received else to_hour(record.headers.last_received)
    return int(site[1]) if site else 0, hour
