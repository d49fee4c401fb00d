"""Organisations pay (one day) and have a plan; projects belong to them and own sites and keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from schemas.control.connect import take_write_lock
from schemas.control.tables import organisations, projects

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

FIRST_ORGANISATION = "My organisation"
FIRST_PROJECT = "My project"


@dataclass(frozen=True, slots=True)
class Project:
    """A project and the organisation that it belongs to."""

    id: int
    organisation_id: int
    name: str


async def ensure_project(engine: AsyncEngine, plan: str, now: datetime) -> Project:
    """The installation's first project, made with its organisation when there is none yet."""
    async with engine.begin() as connection:
        await take_write_lock(connection)
        return await find_first_project(connection) or await create_project(connection, plan, now)


async def find_first_project(connection: AsyncConnection) -> Project | None:
    """The project with the lowest id, or None on an empty control plane."""
    row = (await connection.execute(select(projects).order_by(projects.c.id).limit(1))).one_or_none()
    return None if row is None else Project(row.id, row.organisation_id, row.name)


async def create_project(
    connection: AsyncConnection, plan: str, now: datetime, name: str = FIRST_PROJECT, organisation: str = ""
) -> Project:
    """Make an organisation with one project in it."""
    values = {"name": organisation or FIRST_ORGANISATION, "plan": plan, "created_at": now}
    owner = (await connection.execute(insert(organisations).values(values).returning(organisations.c.id))).scalar_one()
    values = {"organisation_id": owner, "name": name, "created_at": now}
    made = (await connection.execute(insert(projects).values(values).returning(projects.c.id))).scalar_one()
    return Project(made, owner, name)
