"""Beside consuming: forgets ids that are too old, makes salts ahead, destroys those that are over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import SQLAlchemyError

from ingest.lately_seen import SPAN
from ingest.log import LogUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.duplicates import Duplicates
    from ingest.salts import Salts
    from ingest.unconsumed import Unconsumed

EVERY_SECONDS = 60.0
SALTS_EVERY = 3_600_000
LATELY_SLACK = 2 * SPAN
logger = structlog.get_logger()


class Upkeep:
    """Runs beside a consumer whose consumed positions are known."""

    def __init__(self, unconsumed: Unconsumed, duplicates: Duplicates, salts: Salts, clock: Callable[[], int]) -> None:
        self._unconsumed = unconsumed
        self._duplicates = duplicates
        self._salts = salts
        self._clock = clock
        self._salted = 0

    async def run(self) -> None:
        """Once a minute, until cancelled; what fails is done the next time."""
        while True:
            try:
                await self.do()
            except (LogUnavailableError, SQLAlchemyError) as error:
                logger.warning("upkeep_failed", problem=type(error).__name__)
            except Exception:  # whatever it met: without it no salt would ever be destroyed again
                logger.exception("upkeep_failed")
            await asyncio.sleep(EVERY_SECONDS)

    async def do(self) -> None:
        """Do what is due: consumed blocks and ids every time, salts once an hour.

        The consumer lets go of blocks too, but not after every batch: the last one before a silence is left to this.
        """
        now = self._clock()
        await self._unconsumed.let_go()
        self._duplicates.forget(await self._unconsumed.oldest(now) - LATELY_SLACK)
        if self._salted <= now < self._salted + SALTS_EVERY:
            return
        await self._salts.make_ahead()
        destroyed = await self._salts.destroy(await self._unconsumed.oldest_of_all(now))
        if destroyed:
            logger.info("salts_destroyed", days=[day.isoformat() for day in destroyed])
        self._salted = now
