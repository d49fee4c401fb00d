"""Opens the control plane and brings its tables up to date."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from sqlalchemy import event, inspect, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry

MIGRATIONS = resources.files("schemas.control") / "migrations"

# secure_delete overwrites what is deleted: a destroyed salt must not be found in the file.
SQLITE_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000", "secure_delete=ON")


def open_control(url: str) -> AsyncEngine:
    """Make the engine of `sqlite:///path` (four slashes for an absolute one); nothing is connected yet."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        message = f"control plane URL {url!r}: only sqlite:///path is known"
        raise ValueError(message)
    engine = create_async_engine(parsed.set(drivername="sqlite+aiosqlite"))
    event.listen(engine.sync_engine, "connect", _set_pragmas)
    return engine


async def migrate_control(engine: AsyncEngine) -> None:
    """Apply the migrations that are missing; safe to call by several processes at once."""
    async with engine.begin() as connection:
        if not await connection.run_sync(_is_current):
            await connection.run_sync(_upgrade)


async def take_write_lock(connection: AsyncConnection) -> None:
    """Begin the transaction as the only writer, so that what is read next stays true until it ends."""
    await connection.exec_driver_sql("BEGIN IMMEDIATE")


def _is_current(connection: Connection) -> bool:
    """Whether the newest migration is in force; asked without Alembic, which takes long to load."""
    newest = max(item.name for item in (MIGRATIONS / "versions").iterdir() if item.name[:1].isdigit())
    if not inspect(connection).has_table("alembic_version"):
        return False
    return str(connection.scalar(text("SELECT version_num FROM alembic_version"))) == newest.partition("_")[0]


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - hardly ever needed, and slow to load
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _set_pragmas(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    for pragma in SQLITE_PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
