"""One answer for all who ask at about the same time: a public page must not make the warehouse work for each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


class Fresh(Generic[T]):
    """What `read` last gave, at most `milliseconds` old; never more than one read at a time."""

    def __init__(self, read: Callable[[], Awaitable[T]], clock: Callable[[], int], milliseconds: int) -> None:
        self._read = read
        self._clock = clock
        self._milliseconds = milliseconds
        self._reading = asyncio.Lock()
        self._last: tuple[int, T] | None = None

    async def get(self) -> T:
        """The last answer, or a new one; what `read` raises is raised to whoever waits for it."""
        async with self._reading:
            if self._last is None or self._clock() - self._last[0] >= self._milliseconds:
                started = self._clock()
                self._last = started, await self._read()
            return self._last[1]
