"""What happens by the clock: retention, the last use of keys, a look whether the disk holds."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

import structlog
from sqlalchemy import bindparam, or_, update
from sqlalchemy.exc import SQLAlchemyError

from ingest.log import LogUnavailableError
from schemas.control.tables import keys
from schemas.warehouse.errors import WarehouseDiskError, WarehouseError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from deploy.base import Base
    from deploy.parts import Parts
    from ingest.progress import Progress

MINUTE, HOUR = 60.0, 3600.0
DISK_SECONDS = 2.0
UNUSED_SINCE = or_(
    keys.c.last_used_at.is_(None), keys.c.last_used_at < bindparam("used")
)  # other collectors write, too
USED = update(keys).where(keys.c.id == bindparam("key"), UNUSED_SINCE).values(last_used_at=bindparam("used"))
Apply: TypeAlias = "Callable[[], Awaitable[object]]"
log = structlog.get_logger()


class BetweenBatches:
    """Holds the consumer between two batches; raises BatchCutShortError while half of one is in the warehouse.

    A batch that a crash cut short is such a half until the consumer has landed all of it.
    """

    def __init__(self, lock: asyncio.Lock, read_progress: Callable[[], Awaitable[Progress]]) -> None:
        self._lock = lock
        self._read_progress = read_progress

    async def __aenter__(self) -> None:
        """Wait for the batch that lands."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._lock)
            if (await self._read_progress()).leftover is not None:
                message = "a batch that was cut short has not landed yet"
                raise BatchCutShortError(message)
            stack.pop_all()

    async def __aexit__(self, *_error: object) -> None:
        """Let the consumer go on."""
        self._lock.release()


class BatchCutShortError(Exception):
    """Nothing may be erased now."""


async def run_retention(apply: Apply, stop: asyncio.Event) -> None:
    """Delete what sites no longer keep, at the start and every hour after; what fails is tried again in a minute."""
    while not stop.is_set():
        try:
            await apply()
        except (BatchCutShortError, WarehouseError, LogUnavailableError, SQLAlchemyError) as error:
            log.warning("retention_failed", problem=str(error), hint="it is tried again in a minute")
            await sleep_until(stop, MINUTE)
        else:
            await sleep_until(stop, HOUR)


async def watch_disk(parts: Parts, stop: asyncio.Event) -> None:
    """Look every other second whether the disk took what the engine wrote by itself (merges), and mend what it broke.

    The parts that a broken one was merged from stay for two minutes.
    """
    while not stop.is_set():
        try:
            await parts.warehouse.check_disk()
        except WarehouseDiskError as error:
            log.warning("warehouse_mended", reason=str(error))
        except WarehouseError as error:
            log.error("disk_not_checked", reason=str(error)[:200])  # noqa: TRY400 - the reason is enough
        await sleep_until(stop, DISK_SECONDS)


async def write_key_uses(base: Base, stop: asyncio.Event) -> None:
    """Write down when the collector last saw each project key, every minute and at the end."""
    while not stop.is_set():
        await sleep_until(stop, MINUTE)
        uses: dict[int, int] = {}
        for collector in base.collectors:
            uses |= collector.key_uses
            collector.key_uses.clear()
        # In order, so that two processes never wait for each other's rows.
        rows = [{"key": key, "used": datetime.fromtimestamp(used / 1000, UTC)} for key, used in sorted(uses.items())]
        try:
            if rows:
                async with base.control.begin() as connection:
                    await connection.execute(USED, rows)
        except SQLAlchemyError as error:
            log.warning("last_used_not_written", problem=type(error).__name__)


async def sleep_until(stop: asyncio.Event, seconds: float) -> None:
    """Return after so many seconds, or at once when it is time to stop."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
