"""The small number that the control plane gives to each event log: the `_log` of warehouse rows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update
from sqlalchemy.dialects.sqlite import insert

from schemas.control.tables import logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncEngine


async def number_of_log(control: AsyncEngine, identity: str, clock: Callable[[], int]) -> int:
    """Give the log's number; a log never seen before gets the next one. Safe to call by several processes at once."""
    row = {"identity": identity, "created_at": datetime.fromtimestamp(clock() / 1000, UTC)}
    async with control.begin() as connection:
        await connection.execute(insert(logs).values(row).on_conflict_do_nothing())
        number = await connection.scalar(select(logs.c.id).where(logs.c.identity == identity))
    return int(number or 0)


async def adopt_log(control: AsyncEngine, identity: str, clock: Callable[[], int]) -> int:
    """Give the log a new number, so that everything in it counts as never consumed, and return the number.

    For a log that was restored or emptied and now ends below its marks. Events of it that the warehouse already holds
    under the old number are stored again, unless they are recognised by their event id.
    """
    async with control.begin() as connection:
        older = await connection.scalar(select(func.count()).where(logs.c.identity.startswith(f"{identity}#")))
        await connection.execute(
            update(logs).where(logs.c.identity == identity).values(identity=f"{identity}#{(older or 0) + 1}")
        )
    return await number_of_log(control, identity, clock)
