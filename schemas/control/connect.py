"""Opens the control plane and brings its tables up to date."""

from __future__ import annotations

import asyncio
import importlib.util
from contextlib import asynccontextmanager
from importlib import resources
from typing import TYPE_CHECKING, Any

from sqlalchemy import event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from schemas.control.errors import ControlUnusableError
from schemas.passwords import ESCAPES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiosqlite
    from sqlalchemy import URL, Connection
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry

MIGRATIONS = resources.files("schemas.control") / "migrations"
SQLITE, POSTGRES = "sqlite", "postgresql"
FORMS = "write sqlite:////absolute/path or postgresql://user:password@host:5432/database"

# secure_delete overwrites what is deleted: a destroyed salt must not be found in the file.
SQLITE_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000", "secure_delete=ON")

# Advisory locks of PostgreSQL are numbers; any will do that nobody else uses in this database.
WRITE_LOCK, MIGRATION_LOCK = 0x50756C7365_01, 0x50756C7365_02
POLL_SECONDS = 0.1


def open_control(url: str) -> AsyncEngine:
    """Make the engine of `sqlite:////absolute/path` or `postgresql://…` (`open_postgres`).

    Nothing is connected yet. ControlUnusableError for a URL that cannot be one.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # their texts may hold a piece of the password
        message = f"it is no URL, {FORMS}; {ESCAPES}"
        raise ControlUnusableError(message) from None
    backend = parsed.get_backend_name()
    if backend == SQLITE and parsed.database and parsed.host is parsed.username is None:
        if not parsed.database.startswith("/"):  # a server works in a folder that goes when it ends
            message = f"sqlite:///{parsed.database} names no absolute path, {FORMS}"
            raise ControlUnusableError(message)
        return _open_sqlite(parsed)
    if backend != POSTGRES:
        message = f"{parsed.drivername}:// names no control plane, {FORMS}"
        raise ControlUnusableError(message)
    if url.count("@") > 1:  # it would be read up to the first, and a piece of the password taken for the host
        message = f"it has more than one @, {FORMS}; {ESCAPES}"
        raise ControlUnusableError(message)
    if importlib.util.find_spec("asyncpg") is None:
        message = "the driver of PostgreSQL is not installed: pip install 'pulse-analytics[postgres]'"
        raise ControlUnusableError(message)
    from schemas.control.postgres import open_postgres  # noqa: PLC0415 - driver and dialect load long

    return open_postgres(parsed)


async def migrate_control(engine: AsyncEngine) -> None:
    """Apply the migrations that are missing; safe to call by several processes at once.

    ControlUnusableError when the control plane cannot be reached or opened, or was migrated by a newer program.
    """
    async with _first_use(engine) as connection:
        if await connection.run_sync(_is_current):
            return
        await _take_migration_lock(connection)
        if not await connection.run_sync(_is_current):
            await connection.run_sync(_upgrade)


async def take_write_lock(connection: AsyncConnection) -> None:
    """Begin the transaction as the only one that has called this, so that what such ones decide on stays true.

    SQLite keeps out every other writer too.
    """
    if connection.dialect.name == SQLITE:
        await connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": WRITE_LOCK})


@asynccontextmanager
async def _first_use(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction whose errors say what is wrong with the setting, where it is the setting's fault."""
    try:
        async with engine.begin() as connection:
            yield connection
    except DBAPIError as error:
        unusable = _explain(engine, error)
        if unusable is None:
            raise
        raise unusable from error


def _explain(engine: AsyncEngine, error: DBAPIError) -> ControlUnusableError | None:
    if engine.dialect.name == SQLITE:
        return ControlUnusableError(f"{engine.url.database} cannot be used: {error.orig}")
    from schemas.control.postgres import explain  # noqa: PLC0415 - it is loaded, or there would be no engine

    return explain(engine, error)


async def _take_migration_lock(connection: AsyncConnection) -> None:
    """Wait for as long as another process migrates; a statement that waits would be ended."""
    if connection.dialect.name == SQLITE:
        await take_write_lock(connection)
        return
    take = text("SELECT pg_try_advisory_xact_lock(:lock)")
    while not await connection.scalar(take, {"lock": MIGRATION_LOCK}):  # noqa: ASYNC110 - of another process
        await asyncio.sleep(POLL_SECONDS)


def _is_current(connection: Connection) -> bool:
    """Whether the newest migration is in force; asked without Alembic, which takes long to load."""
    known = {item.name.partition("_")[0] for item in (MIGRATIONS / "versions").iterdir() if item.name[:1].isdigit()}
    if not inspect(connection).has_table("alembic_version"):
        return False
    found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if found is not None and found not in known:
        message = (
            f"a newer version of Pulse has migrated this control plane (to {found}, this program knows {max(known)}):"
            " run that version"
        )
        raise ControlUnusableError(message)
    return bool(found == max(known))


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - hardly ever needed, and slow to load
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _open_sqlite(url: URL) -> AsyncEngine:
    engine = create_async_engine(
        url.set(drivername="sqlite+aiosqlite"),
        hide_parameters=True,  # salts among them
        connect_args={"async_creator_fn": _connect_sqlite},
    )
    event.listen(engine.sync_engine, "connect", _set_pragmas)
    return engine


async def _connect_sqlite(path: str, **options: Any) -> aiosqlite.Connection:  # noqa: ANN401 - those of sqlite3
    """Connect. The thread of a connection that failed is waited for: it speaks to a loop that may soon be closed."""
    import aiosqlite  # noqa: PLC0415 - not where the control plane is PostgreSQL

    connection = aiosqlite.connect(path, **options)
    thread = connection._thread  # noqa: SLF001 - SQLAlchemy, whose place this takes, does the same
    thread.daemon = True
    try:
        return await connection
    except BaseException:
        await asyncio.to_thread(thread.join)
        raise


def _set_pragmas(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    """Set what must hold for every connection; one for which that fails is closed, since nobody else would do it."""
    cursor = connection.cursor()
    try:
        for pragma in SQLITE_PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()
    except BaseException:
        connection.close()
        raise
