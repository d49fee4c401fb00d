"""Asks again, for a time, where that may help."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from ingest.log.kafka_errors import STALE, TROUBLES, BrokerRefusedError, as_log_error, may_pass

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ingest.log.kafka_wire import Wire

T = TypeVar("T")
PAUSE = 0.1


async def steadily(wire: Wire, seconds: float, what: str, ask: Callable[[], Awaitable[T]]) -> T:
    """Give what `ask` gives, within so many seconds; raise LogUnavailableError: `what`, and the reason."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    with as_log_error(what):
        while True:
            try:
                return await ask()
            except TROUBLES as error:
                if loop.time() + PAUSE >= until or not may_pass(error):
                    raise
                await asyncio.sleep(PAUSE)
                await look_again(wire, error)


async def look_again(wire: Wire, error: Exception) -> None:
    """Learn who leads now, where the error may come of not knowing."""
    if not isinstance(error, BrokerRefusedError) or error.code in STALE:
        with suppress(*TROUBLES):  # asking again tells
            await wire.refresh()
