"""The two SQLite files of a backup: the log's rest with its dead lines, and the control plane without salts."""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import closing
from typing import TYPE_CHECKING

from deploy.terminal import CommandError
from ingest.log import DEAD
from ingest.log.sqlite_file import connect, open_file, read_states, to_id, transaction

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RECORDS = "SELECT id, appended, headers, body FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT 200"
APPEND = "INSERT INTO records (id, appended, headers, body) VALUES (?, ?, ?, ?)"
BEGIN = "UPDATE partitions SET start = ?, committed = ?, trimmed = ? WHERE partition = ?"


def copy_rest(source: Path, target: Path, positions: Mapping[int, int]) -> int:
    """Copy what the log holds from these positions on, and its dead lines, into a new file; give the bytes.

    In short reads, so that the log's own writer is never held up. Raise CommandError where the log let go of a record
    that is wanted.
    """
    with closing(connect(source)) as old:
        states = read_states(old)
        open_file(target, len(states) - 1)
        with closing(connect(target)) as new:
            size = 0
            for partition, state in states.items():
                begin = state.start if partition == DEAD else positions[partition]
                with transaction(new):
                    new.execute(BEGIN, (begin, begin, begin, partition))
                size += copy_partition(old, new, to_id(partition, begin), to_id(partition, state.end))
            return size


def copy_partition(old: sqlite3.Connection, new: sqlite3.Connection, begin: int, end: int) -> int:
    """Copy the records with these ids; give the bytes."""
    size = 0
    while begin < end:
        rows = old.execute(RECORDS, (begin, end)).fetchall()
        if not rows or rows[0][0] != begin:
            message = "the log let go of records while they were copied (its budget is used up): run the command again"
            raise CommandError(message)
        with transaction(new):
            new.executemany(APPEND, rows)
        size += sum(len(headers) + len(body) for _, _, headers, body in rows)
        begin = rows[-1][0] + 1
    return size


def copy_control(source: Path, target: Path) -> None:
    """Copy the control plane as it is at one moment, without the salts: not a byte of them is in the copy."""
    with (
        closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as old,
        closing(sqlite3.connect(target)) as new,
    ):
        target.chmod(0o600)
        old.backup(new)
        new.execute("PRAGMA secure_delete=ON").fetchall()
        new.execute("DELETE FROM salts")
        new.commit()
        new.execute("PRAGMA journal_mode=DELETE").fetchall()
        new.execute("VACUUM")


def give_own_identity(log: Path, control: Path, number: int) -> str:
    """Make the log one of its own, which keeps its number: the original may still run. Give the new identity."""
    identity = str(uuid.uuid4())
    with closing(connect(log)) as opened:
        opened.execute("UPDATE log SET identity = ?", (identity,))
    with closing(sqlite3.connect(control)) as opened:
        opened.execute("UPDATE logs SET identity = ? WHERE id = ?", (identity, number))
        opened.commit()
    return identity
