"""Who asks: from the headers of a request to the key behind it, without reading the database on each request.

`KeyRing` holds all keys with the sites that they see and is exact all the same: each look-up first asks whether the
control plane has changed (`ControlChanges`) and if so reads it again, at most ten times a second; a request that comes
in between waits for that. So a key that a command has just made is known, and one that it has just revoked is not, from
the moment when the command returns (on PostgreSQL, which tells of a revocation, from the moment when that arrives). An
unknown key costs an attacker's victim nothing, or on PostgreSQL ten empty statements a second.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import bindparam, select, update
from sqlalchemy.exc import SQLAlchemyError

from query_api.control.keys import Key, to_digest, to_key
from query_api.control.sites import Site, to_site
from query_api.control.unavailable import telling_unavailable
from query_api.errors import ForbiddenError, UnauthorizedError
from query_api.plans import Plan, to_plan
from schemas.control.tables import keys, organisations, projects, sites
from schemas.control.view import ControlView

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from query_api.control.keys import Scope
    from schemas.control.changes import ControlChanges

log = structlog.get_logger()

READ_SECONDS = 0.1  # at most ten reads of the control plane a second
USED_SECONDS = 60  # last_used_at is written at most once a minute per key
HOW = "send it as 'Authorization: Bearer ak_live_…' or 'X-API-Key: ak_live_…'"
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="Pulse"'}


@dataclass(frozen=True, slots=True)
class Caller:
    """A key, what its organisation's plan allows, and the sites that it sees (live ones, or those of the sandbox)."""

    key: Key
    plan: Plan
    sites: tuple[Site, ...]


@dataclass(frozen=True, slots=True)
class Callers:
    """All of them at one instant."""

    by_digest: Mapping[str, Caller]
    by_id: Mapping[int, Caller]


class KeyRing:
    """Every key of the installation by the digest of its text."""

    def __init__(self, engine: AsyncEngine, changes: ControlChanges, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._clock = clock
        self._view = ControlView(engine, changes, read_callers, Callers({}, {}), READ_SECONDS)
        self._used: dict[int, datetime] = {}
        self._unwritten: dict[int, datetime] = {}
        self._to_write = asyncio.Event()

    async def find(self, text: str) -> Caller:
        """The caller of a key in force; UnauthorizedError for any other text, saying what is wrong with it.

        UnavailableError when that cannot be found out now: a key that may have been revoked opens nothing.
        """
        digest = to_digest(text)
        with telling_unavailable():
            caller = (await self._view.refresh()).by_digest.get(digest)
            if caller is None:
                caller = (await self._view.look()).by_digest.get(digest)
        return self._in_force(caller)

    async def find_by_id(self, key_id: int) -> Caller:
        """As `find`, for somebody who has shown the key before; SQLAlchemyError when it cannot be found out now."""
        return self._in_force((await self._view.refresh()).by_id.get(key_id))

    def note_use(self, caller: Caller) -> None:
        """Remember that the key was used; `write_uses` writes it down later."""
        now = self._now()
        before = self._used.get(caller.key.id)
        if before is None or now - before >= timedelta(seconds=USED_SECONDS):
            self._used[caller.key.id] = self._unwritten[caller.key.id] = now
            self._to_write.set()

    async def write_uses(self) -> None:
        """Write down when keys were used, until cancelled: one transaction a second at most."""
        while True:
            await self._to_write.wait()
            await asyncio.sleep(1)
            await self.flush_uses()

    async def flush_uses(self) -> None:
        """Write what was noted; a control plane that cannot be written to is logged and tried again."""
        self._to_write.clear()
        noted, self._unwritten = self._unwritten, {}
        if not noted:
            return
        change = update(keys).where(keys.c.id == bindparam("key")).values(last_used_at=bindparam("used"))
        rows = [{"key": key_id, "used": used} for key_id, used in sorted(noted.items())]  # sorted: two never deadlock
        try:
            async with self._engine.begin() as connection:
                await connection.execute(change, rows)
        except SQLAlchemyError as error:
            log.warning("last_used_not_written", keys=len(noted), problem=type(error).__name__)
            self._unwritten = noted | self._unwritten
            self._to_write.set()

    async def stop(self) -> None:
        """Write what was noted and read no more."""
        await self.flush_uses()
        await self._view.stop()

    def _in_force(self, caller: Caller | None) -> Caller:
        if caller is None:
            message = f"This API key is not known: check it, or make one with `pulse key create`; {HOW}"
        elif caller.key.revoked_at is not None:
            message = "This API key was revoked: make another one with `pulse key create`"
        elif caller.key.expires_at is not None and self._now() >= caller.key.expires_at:
            message = (
                f"This API key expired at {caller.key.expires_at.isoformat()}: make another with `pulse key create`"
            )
        else:
            return caller
        raise UnauthorizedError(message, headers=CHALLENGE)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock() / 1000, UTC)


async def read_callers(connection: AsyncConnection) -> Callers:
    """Every key, with the sites of its project and kind that are not deleted."""
    seen: dict[tuple[int, bool], list[Site]] = defaultdict(list)
    for row in await connection.execute(select(sites).where(sites.c.deleted_at.is_(None)).order_by(sites.c.id)):
        site = to_site(row)
        seen[site.project_id, site.sandbox].append(site)
    plan_of = select(
        projects.c.id, organisations.c.plan, organisations.c.requests_per_minute, organisations.c.requests_per_day
    ).join_from(projects, organisations)
    plans = {row.id: to_plan(*row[1:]) for row in await connection.execute(plan_of)}
    callers = {}
    for row in await connection.execute(select(keys)):
        key = to_key(row)
        callers[row.digest] = Caller(key, plans[key.project_id], tuple(seen[key.project_id, key.sandbox]))
    return Callers(callers, {caller.key.id: caller for caller in callers.values()})


def read_key(headers: Mapping[str, str]) -> str:
    """The key that a request shows; UnauthorizedError when it shows none or a key of the wrong kind."""
    text = headers.get("X-API-Key", "").strip()
    scheme, _, credentials = headers.get("Authorization", "").partition(" ")
    if scheme:
        if scheme.lower() != "bearer":
            message = f"The Authorization scheme {scheme[:20]!r} is not known here: {HOW}"
            raise UnauthorizedError(message, headers=CHALLENGE)
        text = credentials.strip()
    if not text:
        message = f"An API key is needed: {HOW}"
        raise UnauthorizedError(message, headers=CHALLENGE)
    if text.startswith("sk_"):
        message = "This is a site key, which only collects: questions need an API key, `pulse key create` makes one"
        raise UnauthorizedError(message, headers=CHALLENGE)
    return text


def refuse_scope(caller: Caller, scope: Scope) -> None:
    """Raise ForbiddenError unless the key carries the scope and the plan has an API."""
    if scope not in caller.key.scopes:
        message = f"This key has no scope {scope!r}: make one with `pulse key create --scope {scope}`"
        raise ForbiddenError(message)
    if not caller.plan.has_api:
        message = f"The plan {caller.plan.name!r} has no API: choose the plan pro or enterprise"
        raise ForbiddenError(message)
