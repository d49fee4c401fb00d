"""Tells whether the control plane changed since it was last read, so that what is cached stays exact.

Commands and other processes write the control plane directly. Asking SQLite for `data_version` costs 3 µs (measured
2026-11-21) and sees every commit of every other connection, in this process or another. PostgreSQL notifies
(`postgres_changes`): that costs less than 1 µs to look at and comes a moment after the commit, so who is about to
refuse something unknown asks it first (`look`).
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from schemas.control.connect import SQLITE

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

Version = tuple[int, int]


class Watch(Protocol):
    """How changes become known; `is_exact` when `read_version` alone sees every commit before it."""

    is_exact: bool

    def read_version(self) -> Version:
        """See `ControlChanges.read_version`."""

    async def look(self) -> None:
        """See `ControlChanges.look`."""

    def close(self) -> None:
        """Let go."""


class ControlChanges:
    """A connection of its own that only watches. Used by one thread, in one event loop."""

    def __init__(self, engine: AsyncEngine) -> None:
        """Watch the control plane of `engine`, which is migrated."""
        self._watch = _open_watch(engine)
        self.is_exact = self._watch.is_exact

    def read_version(self) -> Version:
        """A value that differs from an earlier one whenever somebody committed in between, and hardly ever otherwise.

        Read it before what you cache under it. A control plane that cannot be watched right now counts as changed.
        """
        return self._watch.read_version()

    async def look(self) -> None:
        """Return when `read_version` knows of everything that was committed before this call; raise nothing."""
        await self._watch.look()

    def close(self) -> None:
        """Look no more."""
        self._watch.close()


def _open_watch(engine: AsyncEngine) -> Watch:
    if engine.dialect.name == SQLITE:
        return SqliteWatch(engine)
    from schemas.control.postgres_changes import PostgresWatch  # noqa: PLC0415 - loads the driver

    return PostgresWatch(engine)


class SqliteWatch:
    """Asks the file."""

    is_exact = True

    def __init__(self, engine: AsyncEngine) -> None:
        path = Path(str(engine.url.database)).absolute()
        self._connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=0)
        self._busy = 0

    def read_version(self) -> Version:
        """A file that is locked right now counts as changed."""
        try:
            row = self._connection.execute("PRAGMA data_version").fetchone()
        except sqlite3.OperationalError:
            self._busy += 1
            return -1, self._busy
        return int(row[0]), self._busy

    async def look(self) -> None:
        """`read_version` knows."""

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()
