"""What ingest may know of sites and keys: a read-only, refreshed view of the control plane.

Nothing here writes. That nothing changed is known for 3 µs (`ControlChanges`), so the view is read again only after a
change, and a change is in force within `CHECK_MS`.
"""

from __future__ import annotations

import asyncio
import hashlib
from ipaddress import ip_network
from typing import TYPE_CHECKING, NamedTuple

import structlog
from sqlalchemy import RowMapping, select
from sqlalchemy.exc import SQLAlchemyError

from schemas.control import tables
from schemas.control.changes import ControlChanges

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from ingest.address import Network
    from schemas.event import SiteId

CHECK_MS = 5  # how long a change may go unnoticed; a command takes longer to end its process
RELOAD_SECONDS = 0.1  # between two readings, however often something changes

log = structlog.get_logger()


class Hostnames(NamedTuple):
    """Which hosts may send: `exact` ones without `www.`, and everything below a `suffix` (".example.org")."""

    exact: frozenset[str]
    suffixes: tuple[str, ...]

    def allow(self, hostname: str) -> bool:
        """Whether a lower-case hostname without `www.` is among them."""
        return hostname in self.exact or hostname.endswith(self.suffixes)


class Site(NamedTuple):
    """What the collector knows of a site. `hostnames` None allows every host."""

    id: SiteId
    project_id: int
    sandbox: bool
    timezone: str
    is_active: bool
    hostnames: Hostnames | None
    excluded: tuple[Network, ...]


class ProjectKey(NamedTuple):
    """A key of a project that is not revoked. `expires` is in epoch milliseconds, None is never."""

    id: int
    project_id: int
    sandbox: bool
    scopes: frozenset[str]
    expires: int | None

    def is_valid(self, now: int) -> bool:
        """Whether the key has not expired."""
        return self.expires is None or now < self.expires

    def opens(self, site: Site) -> bool:
        """Whether the site is of the key's project, in the same data set (live or sandbox)."""
        return site.project_id == self.project_id and site.sandbox == self.sandbox


def to_digest(key: str) -> str:
    """Give what the control plane keeps of a key."""
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


class Sites:
    """The view. `by_key`, `by_id` and `keys_by_digest` are replaced as a whole, never changed in place."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.by_key: Mapping[str, Site] = {}
        self.by_id: Mapping[SiteId, Site] = {}
        self.keys_by_digest: Mapping[str, ProjectKey] = {}
        self._engine = engine
        self._changes: ControlChanges | None = None
        self._version: tuple[int, int] | None = None
        self._checked = 0
        self._changed = False
        self._reloading: asyncio.Task[None] | None = None
        self._last_reload = 0.0

    async def start(self) -> None:
        """Read the view for the first time; raise SQLAlchemyError when it cannot be read."""
        self._changes = ControlChanges(self._engine)
        await self._read()

    async def stop(self) -> None:
        """Keep what is known, look no more."""
        if self._reloading is not None:
            self._reloading.cancel()
            await asyncio.wait([self._reloading])
        if self._changes is not None:
            self._changes.close()
            self._changes = None

    def is_stale(self, now: int) -> bool:
        """Whether a change is known that is not read yet; the control plane is asked every `CHECK_MS` of `now`.

        It is asked too when `now` went back: a clock set back must not hold changes up.
        """
        if not self._checked <= now < self._checked + CHECK_MS:
            self._checked = now
            self._changed = not self.is_current()
        return self._changed

    def is_current(self) -> bool:
        """Whether the view holds everything that was committed before this call."""
        return self._read_version() == self._version

    async def look_again(self) -> None:
        """Return when the view holds everything that was committed before this call.

        Current already costs nothing; else callers share one reading, at most ten a second. A control plane that
        cannot be read leaves the view as it is, and not current.
        """
        if self.is_current():
            return
        if self._reloading is None:
            self._reloading = asyncio.create_task(self._reload(), name="sites reload")
        await asyncio.shield(self._reloading)

    def _read_version(self) -> tuple[int, int] | None:
        return self._version if self._changes is None else self._changes.read_version()

    async def _reload(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._last_reload + RELOAD_SECONDS - loop.time())
        self._last_reload = loop.time()
        self._reloading = None  # who comes from here on needs a later reading
        try:
            await self._read()
        except SQLAlchemyError as error:
            log.warning("control_plane_unreadable", error=type(error).__name__)
        self._changed = False  # also after a failure: known sites go on, and the next check finds it again

    async def _read(self) -> None:
        version = self._read_version()  # before the rows: a change in between is seen as one
        async with self._engine.connect() as connection:
            site_rows = (await connection.execute(SITES)).mappings().all()
            key_rows = (await connection.execute(KEYS)).mappings().all()
        sites = {row["site_key"]: _to_site(row) for row in site_rows}
        self.by_key = sites
        self.by_id = {site.id: site for site in sites.values()}
        self.keys_by_digest = {row["digest"]: _to_key(row) for row in key_rows}
        self._version = version


def _to_site(row: RowMapping) -> Site:
    return Site(
        row["id"],
        row["project_id"],
        row["sandbox"],
        row["timezone"],
        row["is_active"],
        to_hostnames(row["allowed_hostnames"]),
        to_networks(row["excluded_addresses"]),
    )


def _to_key(row: RowMapping) -> ProjectKey:
    expires = None if row["expires_at"] is None else int(row["expires_at"].timestamp() * 1000)
    return ProjectKey(row["id"], row["project_id"], row["sandbox"], frozenset(row["scopes"]), expires)


def to_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Give the networks of the setting `excluded_addresses`; one that is none excludes nobody."""
    networks: list[Network] = []
    for text in texts:
        try:
            networks.append(ip_network(text.strip(), strict=False))
        except ValueError:
            log.warning("excluded_address_unreadable")
    return tuple(networks)


def to_hostnames(allowed: Sequence[str]) -> Hostnames | None:
    """Give the hosts of the setting `allowed_hostnames`; an empty list allows all (None)."""
    if not allowed:
        return None
    names = [name.strip().lower() for name in allowed]
    exact = frozenset(name.removeprefix("www.") for name in names if not name.startswith("*."))
    return Hostnames(exact, tuple(name[1:] for name in names if name.startswith("*.")))


SITES = select(
    tables.sites.c.id,
    tables.sites.c.project_id,
    tables.sites.c.sandbox,
    tables.sites.c.timezone,
    tables.sites.c.is_active,
    tables.sites.c.allowed_hostnames,
    tables.sites.c.excluded_addresses,
    tables.sites.c.site_key,
).where(tables.sites.c.deleted_at.is_(None))
KEYS = select(
    tables.keys.c.id,
    tables.keys.c.project_id,
    tables.keys.c.sandbox,
    tables.keys.c.digest,
    tables.keys.c.scopes,
    tables.keys.c.expires_at,
).where(tables.keys.c.revoked_at.is_(None))
