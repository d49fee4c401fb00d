"""Inserts that say what to do about a row that is there: each database has a statement of its own for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.control.connect import SQLITE

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.dialects.postgresql import Insert as PostgresInsert
    from sqlalchemy.dialects.sqlite import Insert as SqliteInsert
    from sqlalchemy.ext.asyncio import AsyncEngine


def insert_into(engine: AsyncEngine, table: Table) -> SqliteInsert | PostgresInsert:
    """An insert that knows `on_conflict_do_nothing` and `on_conflict_do_update`."""
    if engine.dialect.name == SQLITE:
        from sqlalchemy.dialects import sqlite  # noqa: PLC0415 - only the dialect in use is loaded

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - as above

    return postgresql.insert(table)
