"""How far behind the log a consumer is, for `/metrics`: records and seconds, looked at every few seconds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from ingest.log import LogDamagedError, LogUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.consumer_metrics import ConsumerMetrics
    from ingest.log import EventLog
    from ingest.unconsumed import Unconsumed

EVERY_SECONDS = 5.0
logger = structlog.get_logger()


async def watch_lag(log: EventLog, unconsumed: Unconsumed, metrics: ConsumerMetrics, clock: Callable[[], int]) -> None:
    """Until cancelled; afterwards nothing is told of these partitions any more: somebody else has them."""
    try:
        while True:
            try:
                await read_lag(log, unconsumed, metrics, clock())
            except (LogUnavailableError, LogDamagedError) as error:
                logger.debug("lag_not_read", problem=str(error))
            await asyncio.sleep(EVERY_SECONDS)
    finally:
        metrics.forget_partitions()


async def read_lag(log: EventLog, unconsumed: Unconsumed, metrics: ConsumerMetrics, now: int) -> None:
    """Look once; `now` in epoch ms. Raise LogUnavailableError, LogDamagedError."""
    for partition, position in dict(unconsumed.positions).items():
        end = (await log.bounds(partition)).end
        metrics.lag_records.labels(str(partition)).set(max(0, end - position))
    metrics.lag_seconds.set(max(0, now - await unconsumed.oldest(now)) / 1000)
