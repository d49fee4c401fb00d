"""Opens the control plane for a command: written directly, also while a server runs on the same data."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from deploy.private import prepare_data_folder
from deploy.terminal import SettingError
from query_api.control.organisations import Project, ensure_project
from schemas.control.connect import migrate_control, open_control
from schemas.control.errors import ControlUnusableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

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
    """Open, migrate, find or make the first project, and close again; raise SettingError where none can be used."""
    prepare_data_folder(settings.data)
    now = datetime.now(UTC)
    with telling_of_control():
        engine = open_control(settings.control)
    try:
        with telling_of_control():
            await migrate_control(engine)
        yield Control(engine, await ensure_project(engine, settings.plan, now), now)
    finally:
        await engine.dispose()


@contextmanager
def telling_of_control() -> Iterator[None]:
    """Raise SettingError where the control plane cannot be used."""
    try:
        yield
    except ControlUnusableError as error:
        raise SettingError(str(error)) from error
