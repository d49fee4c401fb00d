"""The one thread that writes a log: everything that waits goes into one transaction, then all who wait are told."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

import structlog

from ingest.log import LogDamagedError, LogUnavailableError
from ingest.log.sqlite_append import Appender, Block
from ingest.log.sqlite_file import as_log_error, connect
from ingest.log.sqlite_house import Housekeeper
from ingest.log.sqlite_room import JOURNAL_BYTES
from schemas.event import BLOCK_BYTES

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ingest.log.sqlite_room import Keeping

T = TypeVar("T")
BATCH_BLOCKS = 500
BATCH_BYTES = 8 * 1024**2
IDLE_SECONDS = 30.0
PAGE_BYTES = 4096

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True, eq=False)
class Append:
    """A block that wants its position."""

    block: Block
    done: asyncio.Future[object]


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Anything else that needs the writing connection."""

    run: Callable[[sqlite3.Connection], object]
    done: asyncio.Future[object]


Outcome = tuple["asyncio.Future[object]", object]


class Writer:
    """Owns the writing connection. `append`, `run` and `close` belong to the event loop, the rest to the thread."""

    def __init__(self, path: Path, keeping: Keeping, clock: Callable[[], int]) -> None:
        """Start the thread."""
        self._path = path
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._appender = Appender()
        self.house = Housekeeper(path, keeping, clock)
        self._journal_pages = min(JOURNAL_BYTES, keeping.budget_bytes // 4) // PAGE_BYTES
        self._connection: sqlite3.Connection | None = None
        self._waiting: deque[Append | Job] = deque()
        self._under_way: list[Append | Job] = []
        self._wake = threading.Condition()
        self._refusal = ""  # why nothing more is taken
        self._is_failing = False
        self._thread = threading.Thread(target=self._live, name="log-writer", daemon=True)
        self._thread.start()

    async def append(self, block: Block) -> int:
        """Give the block's position once it is durable; raise LogUnavailableError when it cannot be."""
        done: asyncio.Future[object] = self._loop.create_future()
        self._submit(Append(block, done))
        return cast("int", await done)

    async def run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run the job on the writing connection, between appends."""
        done: asyncio.Future[object] = self._loop.create_future()
        self._submit(Job(job, done))
        return cast("T", await done)

    async def close(self) -> None:
        """Finish what waits, take nothing more, end the thread."""
        with self._wake:
            self._refusal = self._refusal or f"the log {self._path} is closed"
            self._wake.notify()
        await asyncio.to_thread(self._finish)

    def _finish(self) -> None:
        self._thread.join()
        self._let_go()

    def probe(self, connection: sqlite3.Connection) -> None:
        """Job that raises LogUnavailableError unless a block could be taken; it writes only after a failure."""
        self.house.refuse_without_room(connection, BLOCK_BYTES)
        if self._is_failing:
            connection.execute("UPDATE log SET probe = zeroblob(?)", (BLOCK_BYTES,))
            connection.execute("UPDATE log SET probe = ''")
        self._note_success()

    def _submit(self, request: Append | Job) -> None:
        with self._wake:
            if self._refusal:
                raise LogUnavailableError(self._refusal)
            self._waiting.append(request)
            self._wake.notify()

    def _live(self) -> None:
        try:
            busy = True
            while self._take(0.0 if busy else IDLE_SECONDS):
                self._work(self._under_way)
                busy = self._keep_house()
        except BaseException as error:  # whatever ends this thread, nobody may wait for it for ever
            logger.exception("log_writer_died")
            self._end(f"the writer of the log {self._path} has died: {error!r}")

    def _take(self, seconds: float) -> bool:
        """Put what waits under way, up to a batch, or nothing after so many seconds; False when all is over."""
        with self._wake:
            self._wake.wait_for(lambda: self._waiting or self._refusal, seconds)
            self._under_way = []
            size = 0
            while self._waiting and len(self._under_way) < BATCH_BLOCKS and size < BATCH_BYTES:
                request = self._waiting.popleft()
                size += request.block.size if isinstance(request, Append) else 0
                self._under_way.append(request)
            return bool(self._under_way) or not self._refusal

    def _work(self, requests: Sequence[Append | Job]) -> None:
        appends = [request for request in requests if isinstance(request, Append)]
        if appends:
            self._tell(self._append(appends))
        for request in requests:
            if isinstance(request, Job):
                self._tell([(request.done, self._attempt(request.run))])

    def _append(self, appends: Sequence[Append]) -> list[Outcome]:
        blocks = [append.block for append in appends]
        size = sum(block.size for block in blocks)

        def insert(connection: sqlite3.Connection) -> list[int]:
            self.house.refuse_without_room(connection, size)
            return self._appender.append(connection, blocks, self._clock())

        outcome = self._attempt(insert)
        if isinstance(outcome, list):
            self.house.room.add(size)
            self._note_success()
            return [(append.done, position) for append, position in zip(appends, outcome, strict=True)]
        return [(append.done, outcome) for append in appends]

    def _attempt(self, job: Callable[[sqlite3.Connection], object]) -> object:
        """What the job gives, or the error that its caller shall see."""
        try:
            with as_log_error(self._path):
                return job(self._open())
        except (LogUnavailableError, LogDamagedError) as error:
            self._note_failure(error)
            return error if isinstance(error, LogUnavailableError) else LogUnavailableError(str(error))

    def _note_success(self) -> None:
        if self._is_failing:
            logger.info("log_recovered")
        self._is_failing = False

    def _note_failure(self, error: Exception) -> None:
        if not self._is_failing:
            logger.error("log_failing", reason=str(error))
        self._is_failing = True
        if error.__cause__ is not None:  # an error of SQLite: do not trust this connection further
            self._appender = Appender()
            self._let_go()

    def _keep_house(self) -> bool:
        """A step of housekeeping; True when there is more of it to do at once."""
        if not self.house.is_due(self._clock()):
            return False
        more = self._attempt(lambda connection: self.house.step(connection, self._clock()))
        return more is True

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self.house.room.refuse_other_file()
            self._connection = connect(self._path)
            self._connection.execute(f"PRAGMA wal_autocheckpoint={self._journal_pages}").fetchall()
        return self._connection

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _tell(self, outcomes: Sequence[Outcome]) -> None:
        try:
            self._loop.call_soon_threadsafe(_resolve, outcomes)
        except RuntimeError:  # the loop is closed: nobody waits any more
            logger.warning("log_outlived_its_loop", outcomes=len(outcomes))

    def _end(self, reason: str) -> None:
        with self._wake:
            self._refusal = reason
            left = [*self._under_way, *self._waiting]
            self._waiting.clear()
        self._tell([(request.done, LogUnavailableError(reason)) for request in left])


def _resolve(outcomes: Sequence[Outcome]) -> None:
    for done, outcome in outcomes:
        if done.done():  # its caller has been cancelled
            continue
        if isinstance(outcome, Exception):
            done.set_exception(outcome)
        else:
            done.set_result(outcome)
