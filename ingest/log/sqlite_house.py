"""Lets go of records whose retention has ended, in small steps between the appends, and makes room for new ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.log import DEAD, LogUnavailableError
from ingest.log.sqlite_file import read_states, to_id, transaction
from ingest.log.sqlite_room import PAGES, Room, empty_journal

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

    from ingest.log.sqlite_file import PartitionState
    from ingest.log.sqlite_room import Keeping

REST_MS = 30_000
SHORT_REST_MS = 1_000  # when more than half of the budget is used
STEP_BYTES = 256 * 1024  # less than the least reserve: letting go of records writes as much
STEP_RECORDS = 1000
SLACK_BYTES = 16 * 1024**2  # so much free room may stay in the file
VACUUM_PAGES = 256
AGED = "SELECT id, appended, length(headers) + length(body) FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT ?"


class Housekeeper:
    """Decides what is done when. Used by the writer thread alone."""

    def __init__(self, path: Path, keeping: Keeping, clock: Callable[[], int]) -> None:
        """The first look is due at once."""
        self.room = Room(path, keeping, clock)
        self._sweeper = Sweeper(keeping)
        self._due = 0

    def is_due(self, now: int) -> bool:
        """Whether there is something to look at; a clock that was set back is no reason to wait."""
        return now >= self._due or now < self._due - REST_MS

    def step(self, connection: sqlite3.Connection, now: int) -> bool:
        """Do one piece of work; False when none is left for some time."""
        if self._sweeper.sweep(connection, now):
            return True
        self.room.measure(connection)
        if self.room.is_half_used and self._sweeper.make_room(connection):
            return True
        if shrink(connection):
            return True
        empty_journal(connection)
        self._due = now + (SHORT_REST_MS if self.room.is_half_used else REST_MS)
        return False

    def sweep(self, connection: sqlite3.Connection, now: int) -> bool:
        """Delete a piece of what is past its retention; False when nothing of it is left, in the journal neither."""
        if self._sweeper.sweep(connection, now):
            return True
        empty_journal(connection)
        self.room.measure(connection)
        return False

    def refuse_without_room(self, connection: sqlite3.Connection, size: int) -> None:
        """Raise LogUnavailableError when neither budget nor disk hold so many bytes more."""
        while reason := self.room.refuse(connection, size):
            if not self._sweeper.make_room(connection):
                raise LogUnavailableError(reason)


class Sweeper:
    """Deletes, in small steps, records whose retention has ended.."""

    def __init__(self, keeping: Keeping) -> None:
        """Nothing is deleted until `sweep`."""
        self._keeping = keeping

    def sweep(self, connection: sqlite3.Connection, now: int) -> bool:
        """Delete up to a step's worth of what is too old at `now`; False when there was nothing."""
        for partition, state in read_states(connection).items():
            consumed = _find_end(connection, partition, (state.start, state.trimmed), now - self._keeping.keep_ms)
            dead = (state.start, state.end if partition == DEAD else state.start)
            end = max(consumed, _find_end(connection, partition, dead, now - self._keeping.keep_dead_ms))
            if end > state.start:
                _delete(connection, partition, state, end)
                return True
        return False

    def make_room(self, connection: sqlite3.Connection) -> bool:
        """Delete up to a step's worth of what is consumed, whatever its age, where there is most of it."""
        states = read_states(connection)
        for partition in sorted(states, key=lambda partition: states[partition].start - states[partition].trimmed):
            state = states[partition]
            end = _find_end(connection, partition, (state.start, state.trimmed), None)
            if end > state.start:
                _delete(connection, partition, state, end)
                return True
        return False


def shrink(connection: sqlite3.Connection) -> bool:
    """Give a piece of the file back when more than half of it is free; False when it is fine as it is."""
    used, free = connection.execute(PAGES).fetchone()
    if free < max(used, SLACK_BYTES):
        return False
    connection.execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES})").fetchall()
    return True


def _find_end(connection: sqlite3.Connection, partition: int, span: tuple[int, int], until: int | None) -> int:
    """The position before which records of the span may go: appended until then, a step's worth of bytes."""
    begin, end = span
    ids = (to_id(partition, begin), to_id(partition, end), STEP_RECORDS)
    total = 0
    for _id, appended, size in connection.execute(AGED, ids):
        if (until is not None and appended > until) or total > STEP_BYTES:
            break
        total += size
        begin += 1
    return begin


def _delete(connection: sqlite3.Connection, partition: int, state: PartitionState, end: int) -> None:
    with transaction(connection):
        connection.execute(
            "DELETE FROM records WHERE id >= ? AND id < ?", (to_id(partition, state.start), to_id(partition, end))
        )
        connection.execute("UPDATE partitions SET start = max(start, ?) WHERE partition = ?", (end, partition))
