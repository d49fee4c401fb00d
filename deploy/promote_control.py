"""The control plane of a promotion: copied wholly until the hand-over, then changes of the old one are carried over.

After the hand-over a change made in the old control plane (a site, a revoked key) is written into the new one, column
by column, and a change made in the new one stays; whoever changes the same column in both gets what came last. When a
key was last used is not carried, nor are salts, logs and facts: each side has its own from then on. New ids leave room
for those that the old one still gives.
"""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from deploy.backup_log import copy_control
from deploy.promote_mark import MARKER
from deploy.terminal import CommandError
from schemas.control.connect import open_control
from schemas.control.tables import facts, keys, logs, metadata, salts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from sqlalchemy import ColumnElement, Table
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

ROOM = 1000  # ids that the old control plane may still give
AT_ONCE = 200
NOT_CARRIED = frozenset({salts.name, logs.name, facts.name})
NEVER_CARRIED = frozenset({keys.c.last_used_at})  # both servers write it, every minute

Row: TypeAlias = "dict[str, object]"
Tables: TypeAlias = "dict[str, list[Row]]"


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened between two states: rows that came, key and differing columns of others, rows that went."""

    fresh: Tables
    different: Tables
    gone: Tables

    def __len__(self) -> int:
        """How many rows."""
        return sum(len(rows) for tables in (self.fresh, self.different, self.gone) for rows in tables.values())


async def refuse_other_control(new: AsyncEngine, promotion: str) -> None:
    """Raise CommandError where the control plane holds another installation, or what another promotion left."""
    held = await read_tables(new)
    marker = next((row["value"] for row in held[facts.name] if row["name"] == MARKER), None)
    used = [f"{len(rows)} {name}" for name, rows in held.items() if rows and name != facts.name]
    if marker != promotion and (used or marker is not None):
        found = ", ".join(used or ["another promotion"])
        message = f"the new control plane is not empty ({found}), and not by this promotion: name an empty one"
        raise CommandError(message)


async def mirror(old: AsyncEngine, new: AsyncEngine, promotion: str, carrier: Carrier | None = None) -> dict[str, int]:
    """Make the new control plane what the old one is, salts and numbers of logs too, in one step; count the rows.

    With a carrier, what it carries is mirrored as the carrier remembers it from now on.
    """
    held = await read_tables(old)
    if carrier is not None:
        held |= await carrier.remember()
    held[facts.name] = [row for row in held[facts.name] if row["name"] != MARKER]
    held[facts.name].append({"name": MARKER, "value": promotion})
    async with new.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            await connection.execute(delete(table))
        for table in metadata.sorted_tables:
            await insert_rows(connection, table, held[table.name])
        await advance_ids(connection)
    return {name: len(rows) for name, rows in held.items()}


async def read_tables(engine: AsyncEngine) -> Tables:
    """Every row of every table, of one moment."""
    async with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            await connection.exec_driver_sql("BEGIN")
        return {
            table.name: [dict(row) for row in (await connection.execute(select(table))).mappings()]
            for table in metadata.sorted_tables
        }


class Carrier:
    """Carries changes over. `known` is a file: the old control plane as it was last carried, without salts."""

    def __init__(self, old: Path, new: AsyncEngine, known: Path) -> None:
        self._old = old
        self._new = new
        self._known = known
        self._latest = known.with_suffix(".latest")  # what is being written
        self._seen: tuple[int, ...] = ()
        self.problem = ""

    async def remember(self) -> Tables:
        """What is in the old control plane now is known; give the tables that are carried, to be mirrored."""
        await asyncio.to_thread(self._copy, self._known)
        return {name: rows for name, rows in (await read_copy(self._known)).items() if name not in NOT_CARRIED}

    async def carry(self) -> int:
        """Write what changed since into the new control plane; give the number of rows.

        What cannot be written (the same domain added on both sides) is told in `problem` and tried again the next time.
        """
        rows = 0
        if self._latest.exists():  # a run was killed while it wrote this, or before it knew that it had
            rows += await self._write(await leave_out_written(self._new, await self._find_changes()))
        seen = self._look()
        if seen == self._seen:
            return rows
        await asyncio.to_thread(self._copy, self._latest)
        rows += await self._write(await self._find_changes())
        self._seen = () if self.problem else seen
        return rows

    async def _find_changes(self) -> Changes:
        return find_changes(await read_copy(self._known), await read_copy(self._latest))

    async def _write(self, changes: Changes) -> int:
        """Write all of it, so that the latest copy is the known one; else nothing, and `problem` says why."""
        try:
            async with self._new.begin() as connection:
                await write_changes(connection, changes)
        except IntegrityError as error:
            self.problem = f"a change of the old control plane contradicts the new one: {error.orig}"
            self._latest.unlink()
            return 0
        self.problem = ""
        self._latest.rename(self._known)
        return len(changes)

    def _copy(self, target: Path) -> None:
        """Copy the old control plane; the copy has its name when it is whole."""
        partial = target.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        copy_control(self._old, partial)
        partial.rename(target)

    def _look(self) -> tuple[int, ...]:
        """What differs when the old control plane was written to."""
        states = [path.stat() for path in sorted(self._old.parent.glob(f"{self._old.name}*"))]
        return tuple(number for state in states for number in (state.st_mtime_ns, state.st_size))


async def read_copy(path: Path) -> Tables:
    """The tables of a file."""
    engine = open_control(f"sqlite:///{path}")
    try:
        return await read_tables(engine)
    finally:
        await engine.dispose()


def find_changes(before: Tables, now: Tables) -> Changes:
    """What is to be carried of what happened in between."""
    changes = Changes({}, {}, {})
    for table in metadata.sorted_tables:
        if table.name in NOT_CARRIED:
            continue
        names = [column.name for column in table.primary_key]
        older = {tuple(row[name] for name in names): row for row in before[table.name]}
        newer = {tuple(row[name] for name in names): row for row in now[table.name]}
        changes.fresh[table.name] = [row for key, row in newer.items() if key not in older]
        both = ((older[key], row) for key, row in newer.items() if key in older)
        changes.different[table.name] = [row for pair in both if (row := find_difference(table, *pair))]
        changes.gone[table.name] = [row for key, row in older.items() if key not in newer]
    return changes


def find_difference(table: Table, before: Row, now: Row) -> Row:
    """The key and the columns that are not as they were; nothing where all are."""
    carried = [column.name for column in table.columns if column not in NEVER_CARRIED]
    differing = {name: now[name] for name in carried if now[name] != before[name]}
    return {column.name: now[column.name] for column in table.primary_key} | differing if differing else {}


async def write_changes(connection: AsyncConnection, changes: Changes) -> None:
    """Update, insert, delete, in an order that foreign keys allow; a domain that is given up may be taken anew."""
    for table in metadata.sorted_tables:
        own = find_own_references(table)
        await update_rows(connection, table, changes.different.get(table.name, []), own)
        await insert_rows(connection, table, changes.fresh.get(table.name, []))
        await update_rows(connection, table, changes.different.get(table.name, []), ())
    for table in reversed(metadata.sorted_tables):
        for row in changes.gone.get(table.name, []):
            await connection.execute(delete(table).where(*to_key(table, row)))


async def update_rows(connection: AsyncConnection, table: Table, rows: Sequence[Row], without: Sequence[str]) -> None:
    """Set the columns that each row has, but for those `without`."""
    for row in rows:
        values = {name: value for name, value in row.items() if name not in without}
        await connection.execute(update(table).where(*to_key(table, row)).values(values))


async def leave_out_written(engine: AsyncEngine, changes: Changes) -> Changes:
    """The changes without rows to insert that are there: these were written, and the new side may have changed them."""
    async with engine.connect() as connection:
        fresh = {
            table.name: [row for row in changes.fresh.get(table.name, []) if not await is_there(connection, table, row)]
            for table in metadata.sorted_tables
        }
    return Changes(fresh, changes.different, changes.gone)


async def is_there(connection: AsyncConnection, table: Table, row: Row) -> bool:
    """Whether a row with this key exists."""
    found = await connection.scalar(select(func.count()).select_from(table).where(*to_key(table, row)))
    return bool(found)


def to_key(table: Table, row: Mapping[str, object]) -> list[ColumnElement[bool]]:
    """The condition for the row's primary key."""
    return [column == row[column.name] for column in table.primary_key]


async def insert_rows(connection: AsyncConnection, table: Table, rows: Sequence[Row]) -> None:
    """Insert them; what points at rows of the same table is written when all are there."""
    own = find_own_references(table)
    bare = [row | dict.fromkeys(own) for row in rows]
    for start in range(0, len(bare), AT_ONCE):
        await connection.execute(insert(table), bare[start : start + AT_ONCE])
    for row in rows:
        if any(row[name] is not None for name in own):
            await connection.execute(update(table).where(*to_key(table, row)).values(row))


def find_own_references(table: Table) -> list[str]:
    """The columns that point at rows of the same table."""
    return [key.parent.name for key in table.foreign_keys if key.column.table is table]


async def advance_ids(connection: AsyncConnection) -> None:
    """Let PostgreSQL go on behind the ids that were copied, with room for those that the old one still gives.

    Numbers of logs are few and need no room: the old one gives none any more.
    """
    if connection.dialect.name != "postgresql":
        return
    for table in tables_with_ids():
        highest = int(await connection.scalar(select(func.coalesce(func.max(table.c.id), 0))) or 0)
        last = max(highest, 1) if table is logs else highest + ROOM
        statement = text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :last, :used)")
        used = table is not logs or highest > 0
        await connection.execute(statement, {"name": table.name, "last": last, "used": used})


def tables_with_ids() -> Iterator[Table]:
    """Tables whose ids the database gives."""
    return (table for table in metadata.sorted_tables if [column.name for column in table.primary_key] == ["id"])


async def destroy_salts(old: AsyncEngine) -> None:
    """Destroy every salt of the old control plane, which is out of use: nothing of them stays in the file."""
    async with old.begin() as connection:
        await connection.execute(delete(salts))
    async with old.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        with closing(await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")):
            pass
