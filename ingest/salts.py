"""Salts: the random bytes of each calendar date that make its visitor ids, and their destruction.

A date's salt is a row of the control plane, made two days ahead, so that several consumers use one. It is kept until
72 h after the date has ended everywhere and while the log may hold an unconsumed event of it. Then nothing can compute
a visitor id of that date any more.
"""

from __future__ import annotations

import secrets
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, or_, select

from schemas.control.connect import POSTGRES, SQLITE
from schemas.control.inserting import insert_into
from schemas.control.tables import salts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from sqlalchemy.dialects.postgresql import Insert as PostgresInsert
    from sqlalchemy.dialects.sqlite import Insert as SqliteInsert
    from sqlalchemy.ext.asyncio import AsyncEngine

HOUR = 3_600_000
DAY = 24 * HOUR
EPOCH = date(1970, 1, 1)
SALT_BYTES = 16
DAYS_AHEAD = 2
EARLIEST_ZONE, LATEST_ZONE = 14 * HOUR, 12 * HOUR  # a date begins at UTC+14 and ends at UTC-12
KEPT_AFTER_END = 72 * HOUR
LATE = 48 * HOUR
TOUCH_EVERY = HOUR // 6
DAYS_AT_ONCE = 1000
# PostgreSQL's plain VACUUM leaves the bytes in the free space of a page: only a new file is without them.
WIPE = {SQLITE: "PRAGMA wal_checkpoint(TRUNCATE)", POSTGRES: "VACUUM FULL salts"}


def end_of_date(day: date) -> int:
    """The instant (epoch ms) at which the date has ended everywhere."""
    return ((day - EPOCH).days + 1) * DAY + LATEST_ZONE


def days_in_use(now: int) -> list[date]:
    """Every date that has a salt of its own at `now`: from 72 h after its end back to two days before it begins."""
    first = (now - LATEST_ZONE - KEPT_AFTER_END) // DAY
    last = (now + EARLIEST_ZONE) // DAY + DAYS_AHEAD
    return [EPOCH + timedelta(days=number) for number in range(first, last + 1)]


def cut(days: Sequence[date]) -> Iterable[Sequence[date]]:
    """Cut into pieces that fit into one statement."""
    return (days[start : start + DAYS_AT_ONCE] for start in range(0, len(days), DAYS_AT_ONCE))


class Salts:
    """Reads, makes ahead and destroys salts. What was read is remembered until the next `destroy`."""

    def __init__(self, control: AsyncEngine, clock: Callable[[], int]) -> None:
        self._control = control
        self._clock = clock
        self._known: dict[date, bytes] = {}
        self._touched: dict[date, int] = {}

    async def make_ahead(self) -> None:
        """Make the salts of every date in use that has none; one made for a backfill becomes the date's own."""
        insert = self._insert(days_in_use(self._clock()), backfill=False)
        kept = insert.on_conflict_do_update(index_elements=["day"], set_={"backfill": False}, where=salts.c.backfill)
        async with self._control.begin() as connection:
            await connection.execute(kept)

    async def read(self, days: Collection[date], backfill: Collection[date]) -> Mapping[date, bytes]:
        """Give the salts of `days` that there are; those of `backfill` are made if they are missing.

        `backfill` are the days among them of events sent with an ingest key. A day that is absent from the answer has
        no salt (yet, or any more): wait or give up, never invent one.
        """
        known = {day: self._known[day] for day in days if day in self._known}
        missing = set(days) - known.keys()
        old = set(backfill) - set(days_in_use(self._clock()))
        if missing or old:
            known |= await self._read_rows(missing, old)
        return known

    async def destroy(self, oldest_unconsumed: int) -> list[date]:
        """Destroy the salts whose time is over and name their dates; nothing of them stays in the table's file.

        `oldest_unconsumed` is the receipt time (epoch ms) of the oldest event that is not in the warehouse, now if all
        are. Safe to repeat: what a crash or a reader kept in the file or its journal goes the next time.
        """
        now = self._clock()
        first = days_in_use(now)[0]
        oldest_day = EPOCH + timedelta(days=(oldest_unconsumed - LATE - LATEST_ZONE) // DAY)
        unused_since = datetime.fromtimestamp((now - KEPT_AFTER_END) / 1000, UTC)
        over = or_(
            and_(~salts.c.backfill, salts.c.day < min(first, oldest_day)),
            and_(salts.c.backfill, salts.c.last_used_at < unused_since),
        )
        async with self._control.begin() as connection:
            gone = (await connection.scalars(delete(salts).where(over).returning(salts.c.day))).all()
        self._known, self._touched = {}, {}
        await self._wipe()
        return sorted(gone)

    async def _read_rows(self, missing: set[date], backfill: set[date]) -> Mapping[date, bytes]:
        """Give those of `missing` that there are; `destroy` may empty the memory meanwhile, and then stays obeyed."""
        now, known, touched = self._clock(), self._known, self._touched
        found: dict[date, bytes] = {}
        due = sorted(day for day in backfill if now - self._touched.get(day, 0) >= TOUCH_EVERY)
        async with self._control.begin() as connection:
            for days in cut(due):
                insert = self._insert(days, backfill=True)
                used = {"last_used_at": insert.excluded.last_used_at}
                await connection.execute(insert.on_conflict_do_update(index_elements=["day"], set_=used))
            for days in cut(sorted(missing)):
                rows = await connection.execute(select(salts.c.day, salts.c.salt).where(salts.c.day.in_(days)))
                found |= {row.day: row.salt for row in rows}
        known |= found  # of before a `destroy` in between, if there was one: nobody looks there any more
        touched |= dict.fromkeys(due, now)
        return found

    def _insert(self, days: Sequence[date], *, backfill: bool) -> SqliteInsert | PostgresInsert:
        """Rows in the order of their dates: whoever inserts the same ones at once waits and never deadlocks."""
        made = datetime.fromtimestamp(self._clock() / 1000, UTC)
        rows = [
            {"day": day, "salt": secrets.token_bytes(SALT_BYTES), "backfill": backfill, "last_used_at": made}
            for day in days
        ]
        return insert_into(self._control, salts).values(rows)

    async def _wipe(self) -> None:
        """Take what was deleted out of the files too (schemas/README.md says what that promises)."""
        async with self._control.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.exec_driver_sql(WIPE[self._control.dialect.name])
