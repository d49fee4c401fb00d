"""Sites: what is measured. Each has a twin in the sandbox, same domain, other key: test data never meets live data."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from query_api.control.checks import to_domain, to_hostname_rule, to_name, to_network, to_retention, to_timezone
from query_api.errors import BadRequestError, ConflictError, NotFoundError
from query_api.question import Problem
from schemas.control.tables import sites

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from schemas.event import SiteId

LETTERS = string.ascii_letters + string.digits
KEY_LENGTH = 32
VISITOR_KEY_BYTES = 32
PREFIXES = {False: "sk_live_", True: "sk_test_"}  # by sandbox
SiteValue = str | int | bool | list[str] | None


@dataclass(frozen=True, slots=True)
class Site:
    """A site as its project sees it. `site_key` is public; `sandbox` is the twin."""

    id: SiteId
    project_id: int
    sandbox: bool
    domain: str
    name: str
    timezone: str
    site_key: str
    is_active: bool
    allowed_hostnames: tuple[str, ...]
    excluded_addresses: tuple[str, ...]
    retention_months: int | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class SitePair:
    """A site and its twin in the sandbox."""

    live: Site
    sandbox: Site


@dataclass(frozen=True, slots=True)
class SiteChanges:
    """What to change; None leaves a field as it is. `retention_months` 0 is for ever."""

    domain: str | None = None
    name: str | None = None
    timezone: str | None = None
    is_active: bool | None = None
    allowed_hostnames: tuple[str, ...] | None = None
    excluded_addresses: tuple[str, ...] | None = None
    retention_months: int | None = None


@dataclass(frozen=True, slots=True)
class SiteDraft:
    """A site to be made; without a name it is called by its domain."""

    domain: str
    name: str = ""
    timezone: str = "UTC"


async def create_site(engine: AsyncEngine, project_id: int, draft: SiteDraft, now: datetime) -> SitePair:
    """Make the site and its twin; BadRequestError names every wrong field, ConflictError a domain that is there."""
    async with engine.begin() as connection:
        return await add_site(connection, project_id, draft, now)


async def add_site(connection: AsyncConnection, project_id: int, draft: SiteDraft, now: datetime) -> SitePair:
    """As `create_site`, inside somebody's transaction."""
    checked = _to_values(SiteChanges(draft.domain, draft.name or None, draft.timezone))
    common: dict[str, object] = {
        "name": checked["domain"],
        **checked,
        "project_id": project_id,
        "is_active": True,
        "allowed_hostnames": [],
        "excluded_addresses": [],
        "created_at": now,
    }
    pair = []
    for sandbox, prefix in PREFIXES.items():
        own = {"sandbox": sandbox, "site_key": make_key(prefix), "visitor_key": secrets.token_bytes(VISITOR_KEY_BYTES)}
        statement = insert(sites).values(common | own).returning(sites)
        try:
            pair.append(to_site((await connection.execute(statement)).one()))
        except IntegrityError as error:
            message = f"The project has a site {checked['domain']!r} already: update it, or delete it first"
            raise ConflictError(message) from error
    return SitePair(*pair)


async def list_sites(engine: AsyncEngine, project_id: int) -> tuple[SitePair, ...]:
    """The project's sites in the order in which they were made."""
    async with engine.connect() as connection:
        rows = await _read(connection, sites.c.project_id == project_id)
    twins = {site.domain: site for site in rows if site.sandbox}
    return tuple(SitePair(site, twins[site.domain]) for site in rows if not site.sandbox)


async def find_site(engine: AsyncEngine, project_id: int, wanted: str) -> SitePair:
    """The site with this id (its own or its twin's) or domain; NotFoundError otherwise."""
    async with engine.connect() as connection:
        return await _find(connection, project_id, wanted)


async def update_site(engine: AsyncEngine, project_id: int, wanted: str, changes: SiteChanges) -> SitePair:
    """Change the site and its twin alike. A new timezone holds for events received from now on."""
    values = _to_values(changes)
    async with engine.begin() as connection:
        pair = await _find(connection, project_id, wanted)
        if values:
            try:
                await connection.execute(update(sites).where(_is_of(pair)).values(values))
            except IntegrityError as error:
                message = f"The project has another site {values.get('domain')!r}: choose another domain"
                raise ConflictError(message) from error
        return await _find(connection, project_id, str(pair.live.id))


async def delete_site(engine: AsyncEngine, project_id: int, wanted: str, now: datetime) -> SitePair:
    """Take the site and its twin out of sight: their keys collect nothing any more, no question reaches them.

    Retention deletes their events within the hour.
    """
    async with engine.begin() as connection:
        pair = await _find(connection, project_id, wanted)
        await connection.execute(update(sites).where(_is_of(pair)).values(deleted_at=now, is_active=False))
    return pair


def to_site(row: Row[tuple[object, ...]]) -> Site:
    """A row of `sites` as the record."""
    values = row._mapping  # noqa: SLF001 (SQLAlchemy's public name for it)
    own = {field.name: values[field.name] for field in fields(Site)}
    lists = {name: tuple(own[name]) for name in ("allowed_hostnames", "excluded_addresses")}
    return Site(**own | lists)


def make_key(prefix: str) -> str:
    """The prefix and 32 random letters and digits (190 bits)."""
    return prefix + "".join(secrets.choice(LETTERS) for _ in range(KEY_LENGTH))


async def _read(connection: AsyncConnection, condition: ColumnElement[bool]) -> list[Site]:
    statement = select(sites).where(condition, sites.c.deleted_at.is_(None)).order_by(sites.c.id)
    return [to_site(row) for row in await connection.execute(statement)]


async def _find(connection: AsyncConnection, project_id: int, wanted: str) -> SitePair:
    own = await _read(connection, sites.c.project_id == project_id)
    domains = {site.domain for site in own if wanted == str(site.id)} or {wanted_domain(wanted)}
    found = [site for site in own if site.domain in domains]
    if not found:
        message = f"There is no site {wanted!r}: `pulse site list` shows the sites there are"
        raise NotFoundError(message)
    live, sandbox = sorted(found, key=lambda site: site.sandbox)
    return SitePair(live, sandbox)


def wanted_domain(text: str) -> str:
    """A domain as it is stored; text that is none stays as it is and finds nothing."""
    try:
        return to_domain(text)
    except ValueError:
        return text


def _is_of(pair: SitePair) -> ColumnElement[bool]:
    return sites.c.id.in_((pair.live.id, pair.sandbox.id))


def _to_values(changes: SiteChanges) -> dict[str, SiteValue]:
    checks: dict[str, Callable[[], SiteValue]] = {
        "domain": lambda: to_domain(changes.domain or ""),
        "name": lambda: to_name(changes.name or ""),
        "timezone": lambda: to_timezone(changes.timezone or ""),
        "is_active": lambda: changes.is_active,
        "allowed_hostnames": lambda: [to_hostname_rule(text) for text in changes.allowed_hostnames or ()],
        "excluded_addresses": lambda: [to_network(text) for text in changes.excluded_addresses or ()],
        "retention_months": lambda: to_retention(changes.retention_months or None),
    }
    values: dict[str, SiteValue] = {}
    problems = []
    for name, check in checks.items():
        if getattr(changes, name) is None:
            continue
        try:
            values[name] = check()
        except ValueError as error:
            problems.append(Problem(name, str(error)))
    if problems:
        raise BadRequestError.of(problems)
    return values
