"""Opens the control plane and brings its tables up to date."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from sqlalchemy import event, make_url
from sqlalchemy.ext.asyncio import create_async_engine

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry

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
        await connection.run_sync(_upgrade)


async def take_write_lock(connection: AsyncConnection) -> None:
    """Begin the transaction as the only writer, so that what is read next stays true until it ends."""
    await connection.exec_driver_sql("BEGIN IMMEDIATE")


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(resources.files("schemas.control") / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _set_pragmas(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    for pragma in SQLITE_PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
