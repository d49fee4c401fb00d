"""From blocks to enriched rows: everything about a batch that does not depend on what has landed before it.

So the next batch can be prepared while this one lands.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import stamina
import structlog
from sqlalchemy.exc import SQLAlchemyError

from ingest.block_lines import BadLine, Lines, read_records, set_aside
from ingest.enrich.days import EPOCH, to_day_numbers
from ingest.enrich.facts import Facts
from ingest.salts import days_in_use

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date

    from numpy.typing import NDArray

    from ingest.enrich.geo import Geo
    from ingest.enrich.pipeline import Enricher
    from ingest.log import Record
    from ingest.progress import Leftover
    from ingest.salts import Salts
    from ingest.site_facts import SiteFactsReader

WAIT_AT_MOST = 5.0
logger = structlog.get_logger()


class NoSaltYetError(Exception):
    """A date in use has no salt now; somebody has to make it. Wait."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Lines and the rows made of them, in the same order, and the lines that become dead letters."""

    lines: pa.Table
    events: pa.Table
    bad: tuple[BadLine, ...]


@dataclass(frozen=True, slots=True)
class Sources:
    """Where facts come from: the sites, the salts, the geo database in force, the time (epoch ms)."""

    sites: SiteFactsReader
    salts: Salts
    geo: Callable[[], Geo | None]
    clock: Callable[[], int]


class Preparer:
    """Parses and enriches blocks of one log; `number` is its `_log`."""

    def __init__(self, number: int, enricher: Enricher, sources: Sources) -> None:
        self._number = number
        self._enricher = enricher
        self._sources = sources
        self.is_waiting = False  # for the control plane, or for a salt

    async def prepare(self, records: Sequence[Record], leftover: Leftover | None) -> Prepared:
        """Give the rows of the blocks without those that `leftover` says are settled; wait as long as it takes."""
        lines = await asyncio.to_thread(read_records, records)
        if leftover is not None:
            lines = drop_settled(lines, leftover)
        async for attempt in stamina.retry_context(
            on=(SQLAlchemyError, NoSaltYetError), attempts=None, timeout=None, wait_max=WAIT_AT_MOST
        ):
            with attempt:
                self.is_waiting = attempt.num > 1
                lines, facts = await self._read_facts(lines, records)
        self.is_waiting = False
        number = pa.array(np.full(lines.table.num_rows, self._number, np.uint16))
        lines = Lines(lines.table.append_column("_log", number), lines.bad)
        return await asyncio.to_thread(self._enrich, lines, facts, records)

    async def _read_facts(self, lines: Lines, records: Sequence[Record]) -> tuple[Lines, Facts]:
        """Give the facts and the lines for which there are any."""
        sites = await self._sources.sites.read()
        site_ids = lines.table.column("site_id").to_numpy()
        lines = set_aside(lines, records, ~np.isin(site_ids, list(sites)), "the site is unknown")
        days = to_day_numbers(lines.table)
        anonymous = pc.equal(lines.table.column("user_id"), "").to_numpy()
        salts = await self._read_salts(lines.table, np.where(anonymous, days, -1))
        unsalted = anonymous & ~np.isin(days, [(day - EPOCH).days for day in salts])
        lines = set_aside(lines, records, unsalted, "the salt of its date is destroyed")
        return lines, Facts(sites, salts, self._sources.geo())

    async def _read_salts(self, lines: pa.Table, days: NDArray[np.int64]) -> Mapping[date, bytes]:
        """Give the salts of the days that are not -1; raise NoSaltYetError when one must still come."""
        ingest = lines.column("ingest").to_numpy()
        wanted, backfill = to_dates(days), to_dates(days[ingest])
        salts = await self._sources.salts.read(wanted, backfill)
        missing = (wanted - salts.keys()) & set(days_in_use(self._sources.clock()))
        if missing:
            await self._sources.salts.make_ahead()
            salts = await self._sources.salts.read(wanted, backfill)
        if missing - salts.keys():
            message = f"no salt of {min(missing - salts.keys())}"
            raise NoSaltYetError(message)
        return salts

    def _enrich(self, lines: Lines, facts: Facts, records: Sequence[Record]) -> Prepared:
        """Enrich; a line that breaks a step becomes a dead letter and spoils no other."""
        try:
            return Prepared(lines.table, self._enricher.enrich(lines.table, facts), lines.bad)
        except Exception as error:  # whatever a step does, the river goes on
            if not lines.table.num_rows:
                raise
            if lines.table.num_rows == 1:
                reason = f"enrichment failed: {type(error).__name__}"  # its text could hold the address
                logger.warning("line_not_enriched", reason=reason)
                empty = set_aside(lines, records, np.ones(1, np.bool_), reason)
                return self._enrich(empty, facts, records)
            middle = lines.table.num_rows // 2
            first = self._enrich(Lines(lines.table.slice(0, middle), lines.bad), facts, records)
            second = self._enrich(Lines(lines.table.slice(middle), ()), facts, records)
            return join([first, second])


def join(parts: Sequence[Prepared]) -> Prepared:
    """One after the other."""
    if len(parts) == 1:
        return parts[0]
    return Prepared(
        pa.concat_tables([part.lines for part in parts]).combine_chunks(),
        pa.concat_tables([part.events for part in parts]).unify_dictionaries().combine_chunks(),
        tuple(line for part in parts for line in part.bad),
    )


def drop_settled(lines: Lines, leftover: Leftover) -> Lines:
    """Leave out what a batch that was cut short has stored, or written down as a duplicate or a dead letter."""
    columns = lines.table.select(["_partition", "_offset", "_place"]).to_pydict()
    settled = leftover.stored | leftover.duplicates | leftover.dead
    kept = [position not in settled for position in zip(*columns.values(), strict=True)]
    bad = tuple(line for line in lines.bad if line.position not in leftover.dead)
    return Lines(lines.table.filter(pa.array(kept, pa.bool_())).combine_chunks(), bad)


def to_dates(days: NDArray[np.int64]) -> set[date]:
    """The distinct dates of days since 1970; -1 is none."""
    return {EPOCH + timedelta(days=int(day)) for day in np.unique(days) if day >= 0}
