"""How far behind the log a consumer is, for `/metrics`: blocks and seconds, looked at every few seconds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from ingest.log import LogDamagedError, LogUnavailableError
from ingest.unconsumed import Unconsumed

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.consumer_metrics import ConsumerMetrics
    from ingest.log import EventLog, Share
    from ingest.progress import Positions

    Clock = Callable[[], int]

EVERY_SECONDS = 5.0
logger = structlog.get_logger()


async def watch_lag(
    log: EventLog, share: Share, find_consumed: Callable[[], Positions], metrics: ConsumerMetrics, clock: Clock
) -> None:
    """Until cancelled; afterwards nothing is told of these partitions any more: somebody else has them.

    As long as nobody knows how far they are consumed (the warehouse is down, a takeover waits for it), what was known
    last holds, and before that what was committed.
    """
    unconsumed = Unconsumed(log)
    try:
        while True:
            try:
                unconsumed.positions = find_consumed() or unconsumed.positions or await _read_committed(log, share)
                await read_lag(log, unconsumed, metrics, clock())
            except (LogUnavailableError, LogDamagedError) as error:
                logger.debug("lag_not_read", problem=str(error))
            await asyncio.sleep(EVERY_SECONDS)
    finally:
        metrics.forget_partitions()


async def _read_committed(log: EventLog, share: Share) -> Positions:
    committed = await log.committed()
    return {partition: committed[partition] for partition in share.partitions}


async def read_lag(log: EventLog, unconsumed: Unconsumed, metrics: ConsumerMetrics, now: int) -> None:
    """Look once; `now` in epoch ms. Raise LogUnavailableError, LogDamagedError."""
    for partition, position in dict(unconsumed.positions).items():
        end = (await log.bounds(partition)).end
        metrics.lag_blocks.labels(str(partition)).set(max(0, end - position))
    metrics.lag_seconds.set(max(0, now - await unconsumed.oldest(now)) / 1000)
