"""Opens the control plane for a command: written directly, also while a server runs on the same data."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from deploy.private import prepare_data_folder
from query_api.control.organisations import Project, ensure_project
from schemas.control.connect import migrate_control, open_control

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from deploy.settings import Settings


@dataclass(frozen=True, slots=True)
class Control:
    """The control plane and the project that commands work on."""

    engine: AsyncEngine
    project: Project
    now: datetime


@asynccontextmanager
async def control_of(settings: Settings) -> AsyncIterator[Control]:
    """Open, migrate, find or make the first project, and close again."""
    prepare_data_folder(settings.data)
    engine = open_control(settings.control)
    now = datetime.now(UTC)
    try:
        await migrate_control(engine)
        yield Control(engine, await ensure_project(engine, settings.plan, now), now)
    finally:
        await engine.dispose()
