"""Counts what PostgreSQL notifies of (migration 0003), on a connection of its own.

Two facts of PostgreSQL make this exact. A commit signals the listeners before its client is answered; and a listener
that is asked anything is sent its notifications before the end of that answer. So after a question on the listening
connection everything that was committed before it is counted: `look`. (A pooler that shares connections between
transactions breaks both: the URL names PostgreSQL itself.)

While nothing is heard everything counts as changed. A silent connection is asked every other second whether it lives.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import asyncpg  # type: ignore[import-untyped]
import structlog
from sqlalchemy.exc import SQLAlchemyError

from schemas.control.postgres import connecting_alone

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from schemas.control.changes import Version
    from schemas.control.postgres import Driver

CHANNEL = "pulse_control"
ALIVE_SECONDS = 2.0
RETRY_SECONDS = 0.5
LOST = (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)

log = structlog.get_logger()


class PostgresWatch:
    """Listens from the first question on until it is closed; connects again by itself."""

    is_exact = False

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._driver: Driver | None = None  # while it listens
        self._sessions = 0
        self._told = 0
        self._blind = 0
        self._listening: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()  # unless it is about to connect
        self._asking = asyncio.Lock()

    def read_version(self) -> Version:
        """What was told until now; never the same twice while nothing can be heard."""
        self._begin()
        if self._driver is None or self._driver.is_closed():
            self._blind += 1
            return -1, self._blind
        return self._sessions, self._told

    async def look(self) -> None:
        """Wait until it listens or cannot, then hear what is on its way."""
        self._begin()
        await self._settled.wait()
        if self._driver is not None:
            await self._ask(self._driver)

    def close(self) -> None:
        """Hear no more."""
        if self._listening is not None:
            self._listening.cancel()
        if self._driver is not None:
            self._driver.terminate()
            self._driver = None

    def _begin(self) -> None:
        if self._listening is None:
            self._listening = asyncio.get_running_loop().create_task(self._listen(), name="control changes")

    async def _listen(self) -> None:
        is_heard = True  # as far as anybody was told
        while True:
            problem = "the connection has ended"
            try:
                async with connecting_alone(self._engine) as driver:
                    await driver.add_listener(CHANNEL, self._count)
                    self._sessions += 1
                    self._driver = driver
                    self._settled.set()
                    is_heard = True
                    await self._stay(driver)
            except LOST as error:
                problem = str(error)
            finally:
                self._driver = None
                self._settled.set()
            if is_heard:
                log.warning("control_changes_not_heard", problem=problem)
            is_heard = False
            await asyncio.sleep(RETRY_SECONDS)
            self._settled.clear()

    async def _stay(self, driver: Driver) -> None:
        """Return when the connection has ended, or does not answer."""
        ended = asyncio.Event()
        driver.add_termination_listener(lambda _: ended.set())
        while not driver.is_closed():
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), ALIVE_SECONDS)
            await self._ask(driver)

    async def _ask(self, driver: Driver) -> None:
        """Ask anything: the answer comes after the notifications. A connection that gives none is ended."""
        async with self._asking:
            if driver.is_closed():
                return
            try:
                await driver.execute("SELECT 1")
            except LOST:  # whoever waits for its end says so
                driver.terminate()

    def _count(self, *_notification: object) -> None:
        self._told += 1
