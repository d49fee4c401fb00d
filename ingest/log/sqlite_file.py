"""The file of an embedded log: its tables, how it is made and opened, and what its errors mean to a caller.

A record's id is its partition and position in one number, so that a partition lies together and in order. The end of a
partition is not stored: it is one past its last record, or `start` when it holds none; `start` is written in the same
transaction that deletes records, so that a position is never used twice.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ingest.log import DEAD, LogDamagedError, LogUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APPLICATION = 0x50554C53  # PULS
LAYOUT = 1
POSITION_BITS = 47  # 16 bits of partition and 47 of position fill a positive 64-bit number
LAST_POSITION = (1 << POSITION_BITS) - 1
BUSY_SECONDS = 10.0

# 4 KiB pages: larger ones were no faster for 256 KiB blocks and wrote more for single events (2026-11-21).
# secure_delete: an address must not be found in the file after its record is gone; FAST would leave it in free pages.
PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "temp_store=MEMORY", "cache_size=-4096")

TABLES = (
    "CREATE TABLE log (identity TEXT NOT NULL, partitions INTEGER NOT NULL, probe BLOB NOT NULL)",
    """CREATE TABLE partitions (
        partition INTEGER PRIMARY KEY,
        start INTEGER NOT NULL DEFAULT 0,     -- the first position that was not deleted
        committed INTEGER NOT NULL DEFAULT 0, -- the next record to consume
        trimmed INTEGER NOT NULL DEFAULT 0    -- records before it are never needed again
    )""",
    """CREATE TABLE records (
        id INTEGER PRIMARY KEY,               -- partition and position
        appended INTEGER NOT NULL,            -- epoch milliseconds
        headers BLOB NOT NULL,
        body BLOB NOT NULL
    )""",
    f"""CREATE TRIGGER records_leave_no_gap BEFORE INSERT ON records
    WHEN NEW.id IS NOT coalesce(
        (SELECT max(id) + 1 FROM records
         WHERE id BETWEEN NEW.id >> {POSITION_BITS} << {POSITION_BITS} AND NEW.id | {LAST_POSITION}),
        (SELECT (partition << {POSITION_BITS}) + start FROM partitions WHERE partition = NEW.id >> {POSITION_BITS}))
    BEGIN SELECT RAISE(ABORT, 'the position is taken'); END""",  # noqa: S608 - numbers of this module
)

STATES = f"""
SELECT partition, start, committed, trimmed, coalesce(
    (SELECT max(id) + 1 - (partition << {POSITION_BITS}) FROM records
     WHERE id BETWEEN partition << {POSITION_BITS} AND partition << {POSITION_BITS} | {LAST_POSITION}), start)
FROM partitions
"""  # noqa: S608 - numbers of this module

WHAT_TO_DO = (
    "Nothing was changed in it. Stop Pulse, move the file (with its -wal) aside and start again: a new log is made, "
    "and what the warehouse holds stays right. Readable records can be saved with `sqlite3 FILE .recover`."
)


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a file says of itself for its whole life."""

    identity: str
    partitions: int


@dataclass(frozen=True, slots=True)
class PartitionState:
    """Positions of one partition: start and end of what it holds, what is consumed, what may go."""

    start: int
    committed: int
    trimmed: int
    end: int


def to_id(partition: int, position: int) -> int:
    """The record's id in the file."""
    return (partition << POSITION_BITS) + position


def open_file(path: Path, partitions: int | None) -> FileFacts:
    """Make the file with that many partitions (4 unless said) if it is not there, and give its facts.

    Raise ValueError when it has another number of partitions, LogDamagedError when it is no sound log.
    """
    with as_log_error(path):
        if not path.exists() or path.stat().st_size == 0:
            _make(path, 4 if partitions is None else partitions)
        facts = _read_facts(path)
    if partitions not in {None, facts.partitions}:
        message = (
            f"the log {path} has {facts.partitions} partitions for life, the URL asks for {partitions}: "
            "leave ?partitions= out, or give the URL of a new file"
        )
        raise ValueError(message)
    return facts


def connect(path: Path) -> sqlite3.Connection:
    """Open one connection, without implicit transactions; it may be handed from thread to thread."""
    with as_log_error(path):
        connection = sqlite3.connect(
            f"file:{path.as_posix().replace('%', '%25').replace('?', '%3f').replace('#', '%23')}?mode=rw",
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            uri=True,
        )
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}").fetchall()
        return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing: take the write lock, commit at the end, roll back on any error."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some errors of SQLite have rolled back already
            connection.execute("ROLLBACK")
        raise


def read_states(connection: sqlite3.Connection) -> dict[int, PartitionState]:
    """Positions of every partition, of one moment."""
    rows = connection.execute(STATES).fetchall()
    return {
        partition: PartitionState(start, committed, trimmed, end) for partition, start, committed, trimmed, end in rows
    }


@contextmanager
def as_log_error(path: Path) -> Iterator[None]:
    """Say errors of SQLite and of the system as LogUnavailableError (may pass) or LogDamagedError (will not)."""
    try:
        yield
    except (sqlite3.OperationalError, OSError) as error:
        message = f"the log {path} cannot be used now: {error}"
        raise LogUnavailableError(message) from error
    except sqlite3.DatabaseError as error:
        message = f"the log {path} is damaged ({error}). {WHAT_TO_DO}"
        raise LogDamagedError(message) from error


def _make(path: Path, partitions: int) -> None:
    if not 0 < partitions < DEAD:
        message = f"a log has 1 to {DEAD - 1} partitions, not {partitions}"
        raise ValueError(message)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # it holds addresses: for its owner alone
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}").fetchall()
        with transaction(connection):
            if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:  # else another was first
                _fill(connection, partitions)
    finally:
        connection.close()
    _sync_folder(path.parent)


def _fill(connection: sqlite3.Connection, partitions: int) -> None:
    for table in TABLES:
        connection.execute(table)
    connection.execute("INSERT INTO log VALUES (?, ?, '')", (str(uuid.uuid4()), partitions))
    numbers = [(partition,) for partition in (*range(partitions), DEAD)]
    connection.executemany("INSERT INTO partitions (partition) VALUES (?)", numbers)
    connection.execute(f"PRAGMA application_id={APPLICATION}")
    connection.execute(f"PRAGMA user_version={LAYOUT}")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_facts(path: Path) -> FileFacts:
    connection = connect(path)
    try:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        layout = connection.execute("PRAGMA user_version").fetchone()[0]
        if (application, layout) != (APPLICATION, LAYOUT):
            message = f"{path} is not a log of this version of Pulse (application {application:#x}, layout {layout})"
            raise LogDamagedError(message)
        identity, partitions = connection.execute("SELECT identity, partitions FROM log").fetchone()
        if set(read_states(connection)) != {*range(partitions), DEAD}:
            message = f"the log {path} does not hold the partitions that it says it has. {WHAT_TO_DO}"
            raise LogDamagedError(message)
        return FileFacts(identity, partitions)
    finally:
        connection.close()
