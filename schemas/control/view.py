"""What somebody needs to know of the control plane, kept in memory and read again only after a change."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from schemas.control.changes import ControlChanges, Version

Known = TypeVar("Known")


class ControlView(Generic[Known]):
    """`known` is replaced as a whole, never changed in place.

    Callers who need a newer one share a reading that begins after their call; readings are one after the other and
    begin `apart` seconds after each other at least, however often something changes and whoever asks.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        changes: ControlChanges,
        read: Callable[[AsyncConnection], Awaitable[Known]],
        empty: Known,
        apart: float,
    ) -> None:
        self.known = empty
        self._engine = engine
        self._changes = changes
        self._read = read
        self._apart = apart
        self._version: Version | None = None
        self._begun_at = self._ended_at = float("-inf")
        self._next: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading = asyncio.Lock()

    def is_current(self) -> bool:
        """Whether no change is known that is not read yet."""
        return self._changes.read_version() == self._version

    def is_certain(self) -> bool:
        """Whether nothing was committed before this call that is not read yet, or not `apart` seconds ago."""
        is_fresh = self._changes.is_exact or asyncio.get_running_loop().time() < self._ended_at + self._apart
        return is_fresh and self.is_current()

    async def refresh(self) -> Known:
        """Give all that is known to be committed before this call. Raise SQLAlchemyError."""
        if not self.is_current():
            await asyncio.shield(self.begin())
        return self.known

    async def look(self) -> Known:
        """Give all that was committed before this call, known or not. Raise SQLAlchemyError."""
        if self._changes.is_exact:
            return await self.refresh()
        await asyncio.shield(self.begin())
        return self.known

    def begin(self) -> asyncio.Task[None]:
        """The reading that begins next; nobody has to wait for it."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._run(), name="control plane reading")
            self._tasks.add(self._next)
            self._next.add_done_callback(self._finish)
        return self._next

    def close(self) -> None:
        """Read no more; who still waits is cancelled."""
        for task in self._tasks:
            task.cancel()

    async def stop(self) -> None:
        """Read no more, and return when nothing is under way."""
        self.close()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _finish(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen, though nobody may have waited

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        async with self._reading:
            await asyncio.sleep(self._begun_at + self._apart - loop.time())
            self._begun_at = loop.time()
            self._next = None  # who comes from here on needs a later reading
            await self._changes.look()
            version = self._changes.read_version()  # before the rows: a change in between is seen as one
            if version != self._version:
                async with self._engine.connect() as connection:
                    self.known = await self._read(connection)
                self._version = version
            self._ended_at = loop.time()
