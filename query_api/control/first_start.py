"""What an empty installation gets on its first start, so that a newcomer has something that works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from query_api.control.keys import KeyDraft, NewKey, add_key
from query_api.control.organisations import Project, create_project, find_first_project
from query_api.control.sites import SiteDraft, SitePair, add_site
from schemas.control.connect import take_write_lock
from schemas.control.tables import facts, keys, sites

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

DEMO = SiteDraft("localhost", "Demo")
WELCOME = "welcome"


@dataclass(frozen=True, slots=True)
class Welcome:
    """What is printed once: the project, its demo site and a key whose secret nobody can show again."""

    project: Project
    site: SitePair
    key: NewKey


async def ensure_first_start(engine: AsyncEngine, plan: str, now: datetime) -> Welcome | None:
    """Make organisation, project, demo site and key where there is no site and no key yet; None where there is.

    One transaction: of two processes that start at once one gets the welcome, the other waits for it and gets None.
    """
    async with engine.begin() as connection:
        await take_write_lock(connection)
        if await _is_in_use(connection):
            return None
        project = await find_first_project(connection) or await create_project(connection, plan, now)
        site = await add_site(connection, project.id, DEMO, now)
        key = await add_key(connection, project.id, KeyDraft("First key", ("read",)), now)
        await connection.execute(insert(facts).values(name=WELCOME, value=now.isoformat()))
        return Welcome(project, site, key)


async def _is_in_use(connection: AsyncConnection) -> bool:
    found = select(select(sites.c.id).exists() | select(keys.c.id).exists())
    return bool((await connection.execute(found)).scalar_one())
