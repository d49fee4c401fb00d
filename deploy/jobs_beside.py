"""What the role `jobs` does: on the embedded engine between two batches, else beside consumers of other processes.

Nothing while a promotion into the control plane is not done (`promote_mark`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import SQLAlchemyError

from deploy.jobs import MINUTE, BetweenBatches, run_retention, sleep_until
from deploy.promote_mark import read_mark
from ingest.copies import Copies
from ingest.doubled import DoubledAlarm
from ingest.log import LogDamagedError, LogUnavailableError
from ingest.retention import Bound
from schemas.control.leader import run_as_leader
from schemas.warehouse.errors import WarehouseError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from deploy.parts import Parts
    from ingest.following import Following

COPIES_SECONDS, MARK_SECONDS = 20.0, 5.0
WAITS = "waits for the end of a promotion"
log = structlog.get_logger()


async def run_jobs(parts: Parts, stop: asyncio.Event) -> None:
    """Until `stop`."""
    await wait_for_promotion(parts.base.control, stop)
    if parts.following is not None:
        await run_beside_consumers(parts, parts.following, stop)
        return

    async def apply() -> None:
        await parts.retention.apply(BetweenBatches(parts.consumer.between_batches, parts.read_progress))

    await run_retention(apply, stop)


async def wait_for_promotion(control: AsyncEngine, stop: asyncio.Event) -> None:
    """Return when no promotion into this control plane is under way, or it is time to stop."""
    said = False
    while not stop.is_set():
        try:
            if await read_mark(control) is None:
                return
            if not said:
                hint = "`pulse promote` ends that, run again if need be; deploy/README.md says how to give one up"
                log.warning("jobs_wait", reason=f"the role {WAITS} into this control plane", hint=hint)
            said = True
        except SQLAlchemyError as error:
            log.warning("promotion_not_looked_for", problem=str(error)[:200], hint="it is tried again in some seconds")
        await sleep_until(stop, MARK_SECONDS)


async def ping_jobs(control: AsyncEngine) -> str | None:
    """What the jobs wait for, for health. Raise SQLAlchemyError."""
    return None if await read_mark(control) is None else WAITS


async def run_beside_consumers(parts: Parts, following: Following, stop: asyncio.Event) -> None:
    """As long as this process leads: another one takes over when it does not."""
    alarm = DoubledAlarm(parts.warehouse, parts.base.registry, parts.base.clock)
    moving = asyncio.Lock()  # an erasure counts rows, which must not be moved meanwhile

    async def read_bound() -> Bound:
        positions = await parts.read_positions()
        return Bound(parts.number, [positions[partition] for partition in range(len(positions))])

    async def apply() -> None:
        async with moving:
            await parts.retention.resume()
        await parts.retention.apply(moving, read_bound)

    async def work() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(run_retention(apply, stop), name="retention")
            group.create_task(run_copies(parts, following, moving, stop), name="copies")
            group.create_task(watch_doubled(alarm, following, stop), name="doubled")

    await run_as_leader(parts.base.control, "jobs", work, stop)


async def run_copies(parts: Parts, following: Following, moving: asyncio.Lock, stop: asyncio.Event) -> None:
    """Move copies that landed in partitions of different consumers to the duplicates, three times a minute."""
    copies = Copies(parts.warehouse, parts.base.control, parts.number)
    while not stop.is_set():
        try:
            known = await following.look()
            async with moving:
                moved = await copies.move(known.positions, known.received_up_to)
            parts.versions.bump(moved.sites)
        except (WarehouseError, LogUnavailableError, LogDamagedError, SQLAlchemyError) as error:
            log.warning("copies_not_moved", problem=str(error)[:200], hint="it is tried again in some seconds")
        await sleep_until(stop, COPIES_SECONDS)


async def watch_doubled(alarm: DoubledAlarm, following: Following, stop: asyncio.Event) -> None:
    """Ring when a position of the log is stored twice; it is looked at once a minute.

    Whoever does not lead any more says nothing: the process that does would be contradicted for ever.
    """
    try:
        while not stop.is_set():
            try:
                await alarm.look((await following.known()).received_up_to)
            except (WarehouseError, LogUnavailableError, LogDamagedError, SQLAlchemyError) as error:
                log.warning("doubled_not_counted", problem=str(error)[:200])
            await sleep_until(stop, MINUTE)
    finally:
        alarm.rest()
