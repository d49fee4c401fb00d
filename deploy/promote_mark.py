"""The mark of a promotion in the new control plane: from its beginning until it is done.

As long as it is there the jobs wait: rows of the old log still land, which an erasure would delete uncounted. A
promotion cannot begin where jobs run: it wants an empty control plane, and whoever has jobs has given its log a number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from schemas.control.tables import facts

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

MARKER = "promotion"


async def read_mark(control: AsyncEngine) -> str | None:
    """The id of the promotion into this control plane, None without one. Raise SQLAlchemyError."""
    async with control.connect() as connection:
        found: str | None = await connection.scalar(select(facts.c.value).where(facts.c.name == MARKER))
    return found


async def mark(control: AsyncEngine, promotion: str) -> None:
    """Let the control plane say whose it is."""
    async with control.begin() as connection:
        await connection.execute(delete(facts).where(facts.c.name == MARKER))
        await connection.execute(insert(facts).values(name=MARKER, value=promotion))


async def remove_mark(control: AsyncEngine, promotion: str) -> None:
    """The promotion is done; that of another one stays."""
    if await read_mark(control) == promotion:
        async with control.begin() as connection:
            await connection.execute(delete(facts).where(facts.c.name == MARKER))
