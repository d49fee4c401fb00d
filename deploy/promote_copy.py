"""Copies the old warehouse into the new one: in rounds while it grows, the last piece while it stands still."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from typing import TYPE_CHECKING, Protocol

from deploy.copying import POSITIONED, WHOLE, Chunk, Month, Span, measure_months
from deploy.copying_proof import Proof, compare, measure_below, read_proof
from deploy.terminal import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploy.promote_source import LogFacts, Source
    from deploy.promote_target import Target

ENOUGH_ROWS = 20_000  # a last round of so few rows is short
SMALLER = 0.75  # a round that is more than this part of the one before is as small as they get
SHOWN = 20
ERASED = "SELECT DISTINCT site_id, erasure FROM erased"
DELETE = "DELETE FROM events WHERE site_id = {site:UInt32} AND toYYYYMM(local_date) = {month:UInt32}"


class Show(Protocol):
    """Who is told how far it is."""

    def say(self, text: str) -> None:
        """Something that a person should know."""

    def count(self, done: int, total: int) -> None:
        """Rows of the present piece of work."""


class Copier:
    """Copies from `source` to `target`."""

    def __init__(self, source: Source, target: Target, show: Show) -> None:
        self._source = source
        self._target = target
        self._show = show
        self._taken: set[int] = set()
        self._since: Sequence[int] | None = None

    async def copy_rounds(self) -> LogFacts:
        """Copy what has been consumed, again and again until little is left; the old warehouse may grow meanwhile.

        A round takes some time however little there is to copy, so where much comes all the time little is never left:
        what comes during a round is then the least that there can be.
        """
        before = math.inf
        while True:
            facts = await self._source.look()
            await self._take_over(facts.number, range(facts.partitions))
            rows = await self.copy(Span(facts.number, self._since, facts.positions))
            self._since = facts.positions
            if rows <= ENOUGH_ROWS or rows > before * SMALLER:
                return facts
            before = rows
            self._show.say(f"{rows} rows copied; now those that came meanwhile")

    async def copy(self, span: Span) -> int:
        """Copy the rows of a span that are not there yet; give how many."""
        chunks: list[Chunk] = []
        for table in POSITIONED:
            chunks += await self._only_missing(table, await self._source.plan(table, span))
        total, done = sum(chunk.rows for chunk in chunks), 0
        for chunk in chunks:
            await self._copy_chunk(chunk)
            done += chunk.rows
            self._show.count(done, total)
        return total

    async def prove(self, log: int, *, mend: bool) -> Proof:
        """Copy what is left and compare both sides, while the old one stands still; raise CommandError on a difference.

        Also what is left of a batch that was cut short: the consumer of the new warehouse goes on as the old one would.
        What was erased in the old warehouse since it was copied is copied anew, and with `mend` whatever differs.
        """
        await self.copy(Span(log, self._since, None))
        old = await self._source.measure()
        sites = await self._find_erased_since()
        if sites or mend:
            new_months = await measure_months(self._target.warehouse, {"kept": old.kept})
            for key in sorted(old.months.keys() | new_months.keys()):
                if old.months.get(key) != new_months.get(key) and (mend or key.site in sites):
                    await self._copy_anew(log, key)
        for table in (*WHOLE, "dead_letters"):
            rows = await self._source.read_whole(table)
            await self._target.write_whole(table, rows, anew=table in WHOLE)
        new = await read_proof(self._target.warehouse, old.extent, old.kept)
        differences = compare(old, new)
        if differences:
            raise CommandError(to_refusal(differences))
        return dataclasses.replace(old, months=await measure_below(self._target.warehouse, old.extent))

    async def _copy_anew(self, log: int, key: Month) -> None:
        self._show.say(f"site {key.site}, month {key.month}: copied anew")
        await self._target.command(DELETE, {"site": key.site, "month": key.month})
        for chunk in await self._source.plan("events", Span(log, None, None, key.site, key.month)):
            await self._copy_chunk(chunk)

    async def _copy_chunk(self, chunk: Chunk) -> None:
        piece = await self._source.read_chunk(chunk)
        if piece.rows.num_rows:
            await self._target.write_chunk(piece)

    async def _find_erased_since(self) -> frozenset[int]:
        """Sites with an erasure that the new warehouse does not know."""
        rows = await self._source.read_whole("erased")
        old = set(zip(rows.column("site_id").to_pylist(), rows.column("erasure").to_pylist(), strict=True))
        found = await self._target.warehouse.query(ERASED)
        new = set(zip(found.column("site_id").to_pylist(), found.column("erasure").to_pylist(), strict=True))
        return frozenset(site for site, _ in old - new)

    async def _only_missing(self, table: str, chunks: Sequence[Chunk]) -> list[Chunk]:
        """The chunks, or what of them lies above what has been copied already."""
        partitions: defaultdict[int, set[int]] = defaultdict(set)
        for chunk in chunks:
            partitions[chunk.log].add(chunk.partition)
        for log, numbers in partitions.items():
            await self._take_over(log, numbers)
        marks = await self._target.read_marks(table)
        missing = []
        for chunk in chunks:
            begin = max(chunk.begin, marks.get((chunk.log, chunk.partition, chunk.month), -1) + 1)
            if begin < chunk.end:
                missing.append(dataclasses.replace(chunk, begin=begin))
        return missing

    async def _take_over(self, log: int, partitions: Sequence[int] | set[int] | range) -> None:
        """Before the marks of a log are read: nothing of an earlier run may land afterwards."""
        if log not in self._taken:
            await self._target.take_over(log, partitions)
            self._taken.add(log)


def to_refusal(differences: Sequence[str]) -> str:
    """One line that names what differs."""
    more = f"; and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
    return (
        f"NOT handed over, the two sides differ: {'; '.join(differences[:SHOWN])}{more}. "
        "The old installation goes on; --mend copies sites and months that differ anew"
    )
