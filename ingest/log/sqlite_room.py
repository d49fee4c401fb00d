"""How much of its budget and of the disk a log takes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ingest.log import LogUnavailableError
from ingest.log.sqlite_file import BUSY_SECONDS

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

HOUR = 3_600_000
SURE_BYTES = 32 * 1024**2  # after so much was appended the file is measured again
READER_MS = 100  # how long a foreign reader may hold up the emptying of the write-ahead log
RESERVE_BYTES = 8 * 1024**2

PAGES = """
SELECT (page_count - freelist_count) * page_size, freelist_count * page_size
FROM pragma_page_count, pragma_freelist_count, pragma_page_size
"""


@dataclass(frozen=True, slots=True)
class Keeping:
    """What a log may take and how long it keeps what it does not need: bytes on disk, milliseconds.

    `reserve_bytes` of the disk stay free (never more than a sixteenth of it), so that a log which has filled the disk
    can still let go of records. Consumed records stay for `keep_ms`, so that a warehouse restored from a copy catches
    up by itself, but go earlier when the budget is more than half used. Dead lines go after `keep_dead_ms`.
    """

    budget_bytes: int = 10 * 1024**3
    reserve_bytes: int = RESERVE_BYTES
    keep_ms: int = 24 * HOUR
    keep_dead_ms: int = 7 * 24 * HOUR


class Room:
    """Bytes that the log takes, measured now and then and reckoned in between. Used by the writer thread alone."""

    def __init__(self, path: Path, keeping: Keeping) -> None:
        """Nothing is measured yet."""
        self._path = path
        self._keeping = keeping
        self._used = 0
        self._reckoned = SURE_BYTES

    @property
    def is_half_used(self) -> bool:
        """Whether consumed records have to make room before their time."""
        return self._used + self._reckoned > self._keeping.budget_bytes // 2

    def add(self, size: int) -> None:
        """So many bytes were appended."""
        self._reckoned += size + size // 8

    def measure(self, connection: sqlite3.Connection) -> int:
        """Bytes in use now: pages that are not free, and the write-ahead log."""
        pages, _free = connection.execute(PAGES).fetchone()
        self._used = pages + self._journal_bytes()
        self._reckoned = 0
        return self._used

    def has(self, connection: sqlite3.Connection, size: int) -> bool:
        """Whether the budget holds so many bytes more."""
        budget = self._keeping.budget_bytes
        if self._reckoned < SURE_BYTES and self._used + self._reckoned + size <= budget:
            return True
        if self.measure(connection) + size <= budget:
            return True
        if not self._journal_bytes():
            return False
        empty_journal(connection)
        return self.measure(connection) + size <= budget

    def refuse_full_disk(self, size: int) -> None:
        """Raise LogUnavailableError when so many bytes more would eat into the reserve."""
        disk = os.statvfs(self._path.parent)
        reserve = min(self._keeping.reserve_bytes, disk.f_blocks * disk.f_frsize // 16)
        free = disk.f_bavail * disk.f_frsize
        if free < reserve + size:
            message = f"the disk of {self._path} is full: {free} bytes are free, {reserve} are kept in reserve"
            raise LogUnavailableError(message)

    def refuse_over_budget(self) -> None:
        """Raise LogUnavailableError with both figures."""
        message = (
            f"the log {self._path} has used up its budget: {self._used} of {self._keeping.budget_bytes} bytes, "
            "none of them consumed yet"
        )
        raise LogUnavailableError(message)

    def _journal_bytes(self) -> int:
        return self._path.with_name(self._path.name + "-wal").stat().st_size


def empty_journal(connection: sqlite3.Connection) -> bool:
    """Bring everything into the file and cut the write-ahead log to nothing; False when somebody was reading."""
    connection.execute(f"PRAGMA busy_timeout={READER_MS}").fetchall()
    busy, _pages, _moved = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    connection.execute(f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}").fetchall()
    return not busy
