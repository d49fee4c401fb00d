"""API keys of a project: shown once, stored as SHA-256. `ak_live_` sees the live sites, `ak_test_` the sandbox."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, get_args

from sqlalchemy import Row, insert, select, update

from query_api.control.checks import to_name
from query_api.control.sites import make_key
from query_api.errors import BadRequestError, ConflictError, NotFoundError
from query_api.question import Problem
from schemas.control.tables import keys

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

Scope = Literal["read", "ingest"]
SCOPES: tuple[str, ...] = get_args(Scope)
PREFIXES = {False: "ak_live_", True: "ak_test_"}  # by sandbox
HINT_LENGTH = 12


@dataclass(frozen=True, slots=True)
class Key:
    """A key without its secret; `hint` is how it begins. With `replaced_by` it was rotated and ends at `expires_at`."""

    id: int
    project_id: int
    sandbox: bool
    name: str
    hint: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    replaced_by: int | None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made; `text` is the secret, seen here and never again."""

    key: Key
    text: str


@dataclass(frozen=True, slots=True)
class KeyDraft:
    """A key to be made."""

    name: str = "API key"
    scopes: tuple[str, ...] = ("read",)
    sandbox: bool = False
    expires_at: datetime | None = None


async def create_key(engine: AsyncEngine, project_id: int, draft: KeyDraft, now: datetime) -> NewKey:
    """Make a key; BadRequestError names every wrong field."""
    async with engine.begin() as connection:
        return await add_key(connection, project_id, draft, now)


async def add_key(connection: AsyncConnection, project_id: int, draft: KeyDraft, now: datetime) -> NewKey:
    """As `create_key`, inside somebody's transaction."""
    _check(draft, now)
    text = make_key(PREFIXES[draft.sandbox])
    values = {
        "project_id": project_id,
        "sandbox": draft.sandbox,
        "name": to_name(draft.name),
        "digest": to_digest(text),
        "hint": text[:HINT_LENGTH],
        "scopes": sorted(set(draft.scopes)),
        "created_at": now,
        "expires_at": draft.expires_at,
    }
    row = (await connection.execute(insert(keys).values(values).returning(keys))).one()
    return NewKey(to_key(row), text)


async def list_keys(engine: AsyncEngine, project_id: int) -> tuple[Key, ...]:
    """Every key of the project, ended ones too, in the order in which they were made."""
    async with engine.connect() as connection:
        rows = await connection.execute(select(keys).where(keys.c.project_id == project_id).order_by(keys.c.id))
        return tuple(to_key(row) for row in rows)


async def revoke_key(engine: AsyncEngine, project_id: int, key_id: int, now: datetime) -> Key:
    """End a key at once; one that has ended stays as it is."""
    async with engine.begin() as connection:
        key = await _find(connection, project_id, key_id)
        if key.revoked_at is None:
            await connection.execute(update(keys).where(keys.c.id == key_id).values(revoked_at=now))
        return await _find(connection, project_id, key_id)


async def rotate_key(engine: AsyncEngine, project_id: int, key_id: int, overlap: timedelta, now: datetime) -> NewKey:
    """Make a key that may do the same; the old one goes on for `overlap`, or until its own end if that is sooner."""
    async with engine.begin() as connection:
        old = await _find(connection, project_id, key_id)
        if not is_alive(old, now):
            message = f"Key {key_id} has ended and cannot be rotated: create a new one"
            raise ConflictError(message)
        if overlap < timedelta(0):
            raise BadRequestError.of([Problem("overlap", "overlap: write a duration of zero or more")])
        new = await add_key(connection, project_id, KeyDraft(old.name, old.scopes, old.sandbox, old.expires_at), now)
        ends = min(now + overlap, old.expires_at or now + overlap)
        change = update(keys).where(keys.c.id == key_id).values(expires_at=ends, replaced_by=new.key.id)
        await connection.execute(change)
        return new


def is_alive(key: Key, now: datetime) -> bool:
    """Neither revoked nor expired."""
    return key.revoked_at is None and (key.expires_at is None or now < key.expires_at)


def to_digest(text: str) -> str:
    """What is stored of a key or token. No salt: the text is 190 random bits, there is nothing to guess."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def to_key(row: Row[tuple[object, ...]]) -> Key:
    """A row of `keys` as the record."""
    values = row._mapping  # noqa: SLF001 (SQLAlchemy's public name for it)
    own = {field.name: values[field.name] for field in fields(Key)}
    return Key(**own | {"scopes": tuple(own["scopes"])})


async def _find(connection: AsyncConnection, project_id: int, key_id: int) -> Key:
    statement = select(keys).where(keys.c.id == key_id, keys.c.project_id == project_id)
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        message = f"There is no key {key_id}: `pulse key list` shows the keys there are"
        raise NotFoundError(message)
    return to_key(row)


def _check(draft: KeyDraft, now: datetime) -> None:
    problems = [
        Problem("scope", f"scope {scope!r} is not known: write {' or '.join(SCOPES)}")
        for scope in draft.scopes
        if scope not in SCOPES
    ]
    if not draft.scopes:
        problems.append(Problem("scope", f"scope: give at least one of {', '.join(SCOPES)}"))
    if draft.expires_at is not None and draft.expires_at <= now:
        problems.append(Problem("expires", f"expires: {draft.expires_at.isoformat()} is not in the future"))
    try:
        to_name(draft.name)
    except ValueError as error:
        problems.append(Problem("name", str(error)))
    if problems:
        raise BadRequestError.of(problems)
