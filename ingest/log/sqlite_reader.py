"""Reads a log in threads, each with a connection of its own. No read here outlives its call.

Each statement is a consistent view by itself. Bounds are asked for only when the record at the position is not there:
a thread has to win the interpreter back after every statement.
"""

from __future__ import annotations

import asyncio
import queue
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from ingest.log import LogDamagedError, LogUnavailableError, Record
from ingest.log.sqlite_file import as_log_error, connect, read_states, to_id
from schemas.event import BlockHeaders

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ingest.log.sqlite_file import PartitionState

T = TypeVar("T")
THREADS = 2

RECORDS = "SELECT id, headers, body FROM records WHERE id BETWEEN ? AND ? ORDER BY id"
HEADERS = "SELECT id, headers FROM records WHERE id BETWEEN ? AND ? ORDER BY id"


class Reader:
    """A few connections, each used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Open the connections; raise LogUnavailableError or LogDamagedError when they cannot be had."""
        self._path = path
        self._connections: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        for _ in range(THREADS):
            self._connections.put(connect(path))
        self._is_closed = False
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="log-reader")

    async def states(self) -> dict[int, PartitionState]:
        """Positions of every partition now."""
        return await self._run(read_states)

    async def records(self, partition: int, position: int, max_bytes: int) -> Sequence[Record]:
        """As `EventLog.read`."""
        return await self._run(lambda connection: _read_records(connection, partition, position, max_bytes))

    async def headers(self, partition: int, position: int) -> Sequence[tuple[int, BlockHeaders]]:
        """As `EventLog.read_headers`."""
        return await self._run(lambda connection: _read_headers(connection, partition, position))

    async def close(self) -> None:
        """Wait for what is being read, then let go of the connections."""
        self._is_closed = True
        await asyncio.to_thread(self._threads.shutdown)
        while not self._connections.empty():
            self._connections.get_nowait().close()

    async def _run(self, call: Callable[[sqlite3.Connection], T]) -> T:
        if self._is_closed:
            message = f"the log {self._path} is closed"
            raise LogUnavailableError(message)
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._call, call)

    def _call(self, call: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._connections.get()
        try:
            with as_log_error(self._path):
                return call(connection)
        finally:
            self._connections.put(connection)


def _read_records(connection: sqlite3.Connection, partition: int, position: int, max_bytes: int) -> list[Record]:
    records: list[Record] = []
    left = max_bytes
    cursor = connection.execute(RECORDS, _to_span(partition, position))
    for number, headers, body in cursor:
        left -= len(body)
        if left < 0 and records:
            break
        found = number - to_id(partition, 0)
        records.append(Record(partition, found, _read_header(partition, found, headers), body))
    cursor.close()  # ends the read where it was broken off
    if not records or records[0].position != position:
        _refuse_outside(connection, partition, position)
    return records


def _read_headers(connection: sqlite3.Connection, partition: int, position: int) -> list[tuple[int, BlockHeaders]]:
    first = to_id(partition, 0)
    rows = connection.execute(HEADERS, _to_span(partition, position)).fetchall()
    if not rows or rows[0][0] != first + position:
        _refuse_outside(connection, partition, position)
    return [(number - first, _read_header(partition, number - first, headers)) for number, headers in rows]


def _to_span(partition: int, position: int) -> tuple[int, int]:
    return to_id(partition, max(0, position)), to_id(partition + 1, 0) - 1


def _read_header(partition: int, position: int, headers: bytes) -> BlockHeaders:
    try:
        return BlockHeaders.from_bytes(headers)
    except (ValueError, KeyError, TypeError) as error:
        message = f"the headers of record {position} of log partition {partition} cannot be read: {error}"
        raise LogDamagedError(message) from error


def _refuse_outside(connection: sqlite3.Connection, partition: int, position: int) -> None:
    state = read_states(connection)[partition]
    if not state.start <= position <= state.end:
        message = (
            f"position {position} of log partition {partition} was asked for, "
            f"but it holds {state.start} to {state.end}: trimmed, or the file of another time"
        )
        raise LogDamagedError(message)
