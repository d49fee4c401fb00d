"""A lock that lives as long as the connection which took it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import InterfaceError

from schemas.control.postgres import connecting_alone
from schemas.control.postgres_changes import LOST

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from schemas.control.postgres import Driver

PROBE_SECONDS = 2.0
log = structlog.get_logger()


@asynccontextmanager
async def holding_lock(
    engine: AsyncEngine, number: int, stop: asyncio.Event, poll: float
) -> AsyncIterator[asyncio.Event | None]:
    """Wait for the advisory lock; None when `stop` is set before it is had.

    The event says that it is lost, or cannot be shown to be held any more: a connection that ends is noticed at once,
    one that gives no answer after `poll` and `PROBE_SECONDS`. SQLAlchemyError when the lock cannot be
    asked for.
    """
    lost = asyncio.Event()
    async with connecting_alone(engine) as driver:
        driver.add_termination_listener(lambda _: lost.set())
        if not await _take(driver, number, stop, poll):
            yield None
            return
        watching = asyncio.create_task(_watch(driver, lost, poll), name="lock")
        try:
            yield lost
        finally:
            watching.cancel()


async def _take(driver: Driver, number: int, stop: asyncio.Event, poll: float) -> bool:
    try:
        while not await driver.fetchval("SELECT pg_try_advisory_lock($1)", number):
            if await is_set_within(stop, poll):
                return False
    except LOST as error:
        raise InterfaceError(None, None, error) from error
    return True


async def _watch(driver: Driver, lost: asyncio.Event, poll: float) -> None:
    """Ask whether the connection lives until it does not; whatever ends this, the lock cannot be shown to be held."""
    try:
        while not await is_set_within(lost, poll):
            async with asyncio.timeout(PROBE_SECONDS):
                await driver.execute("SELECT 1")
    except Exception as error:  # noqa: BLE001 - also what the driver says of itself when a server ends in mid-sentence
        log.info("lock_lost", reason=str(error) or type(error).__name__)
    finally:
        lost.set()


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for the event, but not longer."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()
