"""The role `jobs`: what happens by the clock. Retention by the hour, the last use of ingest keys by the minute."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import bindparam, update
from sqlalchemy.exc import SQLAlchemyError

from schemas.control.tables import keys
from schemas.warehouse.errors import WarehouseError

if TYPE_CHECKING:
    from deploy.base import Base
    from ingest.consumer import Consumer
    from ingest.retention import Retention

MINUTE, HOUR = 60.0, 3600.0
USED = update(keys).where(keys.c.id == bindparam("key")).values(last_used_at=bindparam("used"))
log = structlog.get_logger()


async def run_retention(retention: Retention, consumer: Consumer, stop: asyncio.Event) -> None:
    """Delete what sites no longer keep, at the start and every hour after."""
    while not stop.is_set():
        try:
            await retention.apply(consumer.between_batches)
        except (WarehouseError, SQLAlchemyError) as error:
            log.warning("retention_failed", problem=str(error), hint="it is tried again in an hour")
        await sleep_until(stop, HOUR)


async def write_key_uses(base: Base, stop: asyncio.Event) -> None:
    """Write down when the collector last saw each project key, every minute and at the end."""
    while not stop.is_set():
        await sleep_until(stop, MINUTE)
        uses: dict[int, int] = {}
        for collector in base.collectors:
            uses |= collector.key_uses
            collector.key_uses.clear()
        rows = [{"key": key, "used": datetime.fromtimestamp(used / 1000, UTC)} for key, used in uses.items()]
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
