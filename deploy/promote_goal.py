"""Where a promotion goes: what was asked for, whether that is what was begun, and both sides opened."""

from __future__ import annotations

import asyncio
import re
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploy.backup import find_places
from deploy.base import open_migrated_control
from deploy.promote_control import Carrier
from deploy.promote_note import FOLDER, NOTE, Places, Work, read_work, work_folder
from deploy.terminal import SettingError
from ingest.log import LogUnavailableError
from ingest.log.open import prepare_log
from schemas.control.connect import migrate_control, open_control
from schemas.control.errors import ControlUnusableError
from schemas.passwords import hide_password
from schemas.warehouse.address import is_server
from schemas.warehouse.client import Warehouse
from schemas.warehouse.errors import WarehouseError
from schemas.warehouse.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AsyncExitStack
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from deploy.promote_copy import Show
    from deploy.promote_note import Note
    from deploy.settings import Settings

KNOWN = "control.db"
HANDLES = 4
FROM_SERVERS = (
    "a promotion leads from the embedded form to servers; give it the old server's settings, PULSE_DATA above all"
)
BOUND = ("warehouse", "control", "log")  # what a promotion that was begun may not change; limits are only told


@dataclass(frozen=True, slots=True)
class Goal:
    """Where to: URLs. An empty `log` leaves the log where it is; `mend` copies anew what differs.

    `grace` is for how many seconds nobody must have served or appended on the old side to count as stopped for good.
    """

    warehouse: str
    control: str
    log: str
    limits: str
    mend: bool
    grace: float

    @property
    def places(self) -> Places:
        """The URLs as they may be shown."""
        return Places(*(hide_password(url) for url in (self.warehouse, self.control, self.log, self.limits)))


@dataclass(frozen=True, slots=True)
class Sides:
    """What is open of both sides."""

    settings: Settings
    goal: Goal
    warehouse: Warehouse
    old: AsyncEngine
    new: AsyncEngine
    show: Show

    @property
    def carrier(self) -> Carrier:
        """What carries changes of the control plane."""
        data = self.settings.data
        return Carrier(find_places(self.settings, FROM_SERVERS)[1], self.new, work_folder(data) / KNOWN)


def refuse_goal(settings: Settings, goal: Goal) -> None:
    """Raise SettingError for a goal that cannot be one, before anything is opened."""
    find_places(settings, FROM_SERVERS)
    if not is_server(goal.warehouse):
        message = "--warehouse: name a server, clickhouse://user:password@host:8123/database"
        raise SettingError(message)
    if goal.control in {settings.control, ""}:
        message = "--control: name another control plane, postgresql://user:password@host:5432/database"
        raise SettingError(message)
    if goal.log and not goal.log.startswith("kafka://"):
        message = "--log: name a topic, kafka://host:9092/topic; leave it out to keep the log where it is"
        raise SettingError(message)


def find_work(data: Path, goal: Goal, note: Note | None) -> Work:
    """The promotion that was begun to the same places, or a new one; raise SettingError for other places."""
    begun = read_work(data) if note is None else Work(note.id, note.places)
    if begun is None:
        return Work(uuid.uuid4().hex, goal.places)
    differing = find_differing(begun.places, goal.places)
    if differing:
        advice = (
            f", or remove {data / FOLDER} to begin anew with empty databases"
            if note is None
            else f": {data / NOTE} says that it has handed over, so it can only be finished"
        )
        message = f"a promotion was begun with other URLs ({'; '.join(differing)}): run it with those{advice}"
        raise SettingError(message)
    return begun


def find_differing(begun: Places, asked: Places) -> list[str]:
    """The options that are not as they were, in words."""
    pairs = [(name, getattr(begun, name), getattr(asked, name)) for name in BOUND]
    return [f"--{name} was {old or 'left out'}, is {new or 'left out'}" for name, old, new in pairs if old != new]


async def open_sides(stack: AsyncExitStack, settings: Settings, goal: Goal, show: Show) -> Sides:
    """Open both control planes and the new warehouse, make the new log ready; raise SettingError which cannot be had.

    What can be wrong with the URLs is found here, before anything is copied.
    """
    old = await stack.enter_async_context(open_migrated_control(settings))
    new = await open_new_control(stack, goal)
    with telling_of("--warehouse"):
        warehouse = await asyncio.to_thread(Warehouse, goal.warehouse, HANDLES)
        stack.push_async_callback(warehouse.close)
        await migrate(warehouse)
    with telling_of("--log"):
        for line in await prepare_log(goal.log) if goal.log else ():
            show.say(line)
    return Sides(settings, goal, warehouse, old, new, show)


async def open_new_control(stack: AsyncExitStack, goal: Goal) -> AsyncEngine:
    """The new control plane alone, with its tables; raise SettingError."""
    with telling_of("--control"):
        new = open_control(goal.control)
        stack.push_async_callback(new.dispose)
        await migrate_control(new)
    return new


@contextmanager
def telling_of(option: str) -> Iterator[None]:
    """Raise SettingError that names the option, where its URL names what cannot be used."""
    try:
        yield
    except (ControlUnusableError, WarehouseError, LogUnavailableError, ValueError) as error:
        problem = re.sub(r"^PULSE_\w+_URL: ", "", str(error))  # of a setting, which was not used
        message = f"{option}: {problem}"
        raise SettingError(message) from error
