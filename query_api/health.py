"""Whether the parts of the server answer: asked at most once a second, however many ask."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog

log = structlog.get_logger()

Ping = Callable[[], Awaitable[str | None]]
OK, FAILING = "ok", "failing"
PING_SECONDS = 5.0
FRESH_MILLISECONDS = 1000


@dataclass(frozen=True, slots=True)
class Health:
    """Per part, by name, `OK`, what it waits for, or `FAILING`."""

    parts: Mapping[str, str]

    @property
    def is_well(self) -> bool:
        """Every part answered."""
        return FAILING not in self.parts.values()


class HealthChecks:
    """The pings of the server's parts. A ping returns when its part works, with what it waits for, and raises else."""

    def __init__(self, pings: Mapping[str, Ping], clock: Callable[[], int]) -> None:
        self._pings = dict(pings)
        self._clock = clock
        self._asking = asyncio.Lock()
        self._last: Health | None = None
        self._asked_at = 0

    async def read(self) -> Health:
        """How the parts are; up to a second old."""
        async with self._asking:
            if self._last is None or not self._asked_at <= self._clock() < self._asked_at + FRESH_MILLISECONDS:
                results = await asyncio.gather(*(self._ask(name, ping) for name, ping in self._pings.items()))
                self._last = Health(dict(zip(self._pings, results, strict=True)))
                self._asked_at = self._clock()
            return self._last

    async def _ask(self, name: str, ping: Ping) -> str:
        try:
            return await asyncio.wait_for(ping(), PING_SECONDS) or OK
        except Exception as error:  # noqa: BLE001 - a part may fail in any way: it is not well, and the log says why
            log.warning("part_not_well", part=name, reason=str(error) or type(error).__name__)
            return FAILING
