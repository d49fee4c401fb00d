"""What the role `jobs` does beside consumers of other processes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from deploy.jobs_beside import watch_doubled
from ingest.copies import read_checked
from ingest.doubled import DoubledAlarm
from ingest.following import FollowedLog, Following
from tests.ingest.consumer.rivers import PATIENCE, make_enricher, make_line, open_river

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from ingest.copies import Checked
    from schemas.warehouse.client import Warehouse
    from tests.ingest.consumer.rivers import River


@pytest.fixture
async def river(control: AsyncEngine, warehouse: Warehouse, tmp_path: Path) -> AsyncIterator[River]:
    """Four rows, two of them at one position."""
    river = await open_river(control, warehouse, tmp_path, make_enricher())
    await river.append([make_line() for _ in range(3)])
    await river.consume()
    await river.warehouse.command("INSERT INTO events SELECT * FROM events WHERE _place = 1")
    yield river
    await river.log.close()


def follow(river: River) -> Following:
    """What another process knows of the river's consumer."""

    async def read() -> Checked | None:
        return await read_checked(river.control, river.number)

    followed = FollowedLog(river.log, river.number)
    return Following(followed, river.warehouse, river.versions, read, river.clock)


async def test_the_alarm_of_a_process_that_leads_no_more_is_silent(river: River) -> None:
    registry = CollectorRegistry()
    alarm = DoubledAlarm(river.warehouse, registry, river.clock)
    watching = asyncio.create_task(watch_doubled(alarm, follow(river), asyncio.Event()))
    async with asyncio.timeout(PATIENCE):
        while not registry.get_sample_value("pulse_positions_doubled"):  # noqa: ASYNC110 (a figure has no event)
            await asyncio.sleep(0.02)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert registry.get_sample_value("pulse_positions_doubled") == 0
