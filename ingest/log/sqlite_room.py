"""How much of its budget and of the disk a log takes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ingest.log import LogUnavailableError
from ingest.log.sqlite_file import BUSY_SECONDS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

HOUR = 3_600_000
LOOK_MS = 1000  # how often the disk is looked at, if nothing else asks for it
SURE_BYTES = 32 * 1024**2  # after so much was appended the file is measured again
READER_MS = 100  # how long a foreign reader may hold up the emptying of the write-ahead log
RESERVE_BYTES = 8 * 1024**2
JOURNAL_BYTES = 4 * 1024**2  # the write-ahead log goes into the file when it is so long: a stall of about 7 ms

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
    """What the log takes and what is left for it, measured now and then and reckoned in between.

    Used by the writer thread alone.
    """

    def __init__(self, path: Path, keeping: Keeping, clock: Callable[[], int]) -> None:
        """Nothing is measured yet."""
        self._path = path
        self._file = path.stat().st_ino
        self._clock = clock
        self._keeping = keeping
        self._used = 0
        self._vacant = 0  # bytes of pages in the file that are free
        self._reckoned = SURE_BYTES  # bytes appended since it was measured
        self._free = 0  # of the disk
        self._spent = 0  # bytes written since the disk was looked at
        self._looked = 0

    @property
    def is_half_used(self) -> bool:
        """Whether consumed records have to make room before their time."""
        return self._used + self._reckoned > self._keeping.budget_bytes // 2

    def add(self, size: int) -> None:
        """So many bytes were appended."""
        self._reckoned += size + size // 8
        self._spent += 2 * size

    def measure(self, connection: sqlite3.Connection) -> int:
        """Bytes in use now: pages that are not free, and the write-ahead log."""
        pages, self._vacant = connection.execute(PAGES).fetchone()
        self._used = pages + self._path.with_name(self._path.name + "-wal").stat().st_size
        self._reckoned = 0
        return self._used

    def refuse(self, connection: sqlite3.Connection, size: int) -> str:
        """Say why so many bytes more cannot be taken; empty when they can."""
        if self._reckoned >= SURE_BYTES:
            self.measure(connection)
        if self._used + self._reckoned + size <= self._keeping.budget_bytes and self._is_disk_wide(size):
            return ""
        empty_journal(connection)
        self.measure(connection)
        return self._refuse_budget(size) or self._refuse_disk(size)

    def _refuse_budget(self, size: int) -> str:
        budget = self._keeping.budget_bytes
        if self._used + size <= budget:
            return ""
        return f"the log {self._path} has used up its budget: {self._used} of {budget} bytes, all of it needed"

    def _refuse_disk(self, size: int) -> str:
        """The journal is empty: a block comes to the journal first, then to vacant pages or the end of the file."""
        reserve = self._look()
        if self._free >= reserve + 2 * size or (self._free >= reserve // 2 + size and self._vacant >= 2 * size):
            return ""
        return f"the disk of {self._path} is full: {self._free} bytes are free, {reserve} are kept in reserve"

    def _is_disk_wide(self, size: int) -> bool:
        needed = self._keeping.reserve_bytes + 2 * (size + JOURNAL_BYTES)
        if not self._looked <= self._clock() < self._looked + LOOK_MS:
            self._look()
        return self._free - self._spent >= needed

    def _look(self) -> int:
        """See how much of the disk is free, and give the reserve."""
        self.refuse_other_file()
        disk = os.statvfs(self._path.parent)
        self._free = disk.f_bavail * disk.f_frsize
        self._spent = 0
        self._looked = self._clock()
        return min(self._keeping.reserve_bytes, disk.f_blocks * disk.f_frsize // 16)

    def refuse_other_file(self) -> None:
        """Raise LogUnavailableError or OSError when the path is no longer that of the file that was opened."""
        if self._path.stat().st_ino != self._file:
            message = f"another file was put in place of the log {self._path}: start again"
            raise LogUnavailableError(message)


def empty_journal(connection: sqlite3.Connection) -> bool:
    """Bring everything into the file and cut the write-ahead log to nothing; False when somebody was reading."""
    connection.execute(f"PRAGMA busy_timeout={READER_MS}").fetchall()
    busy, _pages, _moved = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    connection.execute(f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}").fetchall()
    return not busy
