"""What ingest may know of sites and keys: a read-only, refreshed view of the control plane.

Nothing here writes. Whether something changed is known at once (`ControlChanges`), so the view is read again only after
a change, and a change is in force within `CHECK_MS`.
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
from schemas.control.view import ControlView

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from ingest.address import Network
    from schemas.event import SiteId

CHECK_MS = 5  # how long a change may go unnoticed; a command takes longer to end its process
RELOAD_SECONDS = 0.1  # between two readings, however often something changes
LOOK_SECONDS = 1.0  # how long a request waits for a reading

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


class Known(NamedTuple):
    """All of it at one instant."""

    by_key: Mapping[str, Site]
    by_id: Mapping[SiteId, Site]
    keys_by_digest: Mapping[str, ProjectKey]


class Sites:
    """The view. `by_key`, `by_id` and `keys_by_digest` are replaced as a whole, never changed in place.

    While the control plane cannot be read it stays as it is: who is known goes on without waiting, and the first
    check in each `RELOAD_SECONDS` begins another try.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._changes: ControlChanges | None = None
        self._view: ControlView[Known] | None = None
        self._known = Known({}, {}, {})
        self._checked = 0
        self._stale = False
        self._is_unreadable = False

    @property
    def by_key(self) -> Mapping[str, Site]:
        """Sites by their public key."""
        return self._known.by_key

    @property
    def by_id(self) -> Mapping[SiteId, Site]:
        """Sites by id."""
        return self._known.by_id

    @property
    def keys_by_digest(self) -> Mapping[str, ProjectKey]:
        """Keys by the digest of their text."""
        return self._known.keys_by_digest

    async def start(self) -> None:
        """Read the view for the first time; raise SQLAlchemyError when it cannot be read."""
        self._changes = ControlChanges(self._engine)
        self._view = ControlView(self._engine, self._changes, self._read, self._known, RELOAD_SECONDS)
        await self._view.refresh()

    async def stop(self) -> None:
        """Keep what is known, look no more."""
        if self._view is not None and self._changes is not None:
            await self._view.stop()
            self._changes.close()
            self._view = self._changes = None

    def is_stale(self, now: int) -> bool:
        """Whether to wait for a reading (`look_again`); the control plane is asked every `CHECK_MS` of `now`.

        It is asked too when `now` went back: a clock set back must not hold changes up.
        """
        if not self._checked <= now < self._checked + CHECK_MS and self._view is not None:
            self._checked = now
            self._stale = not self._view.is_current()
            self._is_unreadable &= self._stale
            if self._is_unreadable:
                self._view.begin()
        return self._stale and not self._is_unreadable

    def is_current(self) -> bool:
        """Whether the view holds everything that was committed before this call, or before a look just now."""
        return self._view is None or self._view.is_certain()

    async def look_again(self) -> bool:
        """Return when the view holds everything that was committed before this call, or cannot be made to (False).

        Callers share readings, at most ten a second. A control plane that cannot be read within `LOOK_SECONDS` leaves
        the view as it is, and not current.
        """
        if self._view is None:
            return True
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._view.look()
        except (SQLAlchemyError, TimeoutError) as error:
            if not self._is_unreadable:
                log.warning("control_plane_unreadable", error=type(error).__name__)
            self._is_unreadable = True
            return False
        finally:
            self._stale = False  # also after a failure: known sites go on, and the next check finds it again
        return True

    async def _read(self, connection: AsyncConnection) -> Known:
        site_rows = (await connection.execute(SITES)).mappings().all()
        key_rows = (await connection.execute(KEYS)).mappings().all()
        by_key = {row["site_key"]: _to_site(row) for row in site_rows}
        by_id = {site.id: site for site in by_key.values()}
        self._known = Known(by_key, by_id, {row["digest"]: _to_key(row) for row in key_rows})
        return self._known


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
