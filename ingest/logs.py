"""The small number that the control plane gives to each event log: the `_log` of warehouse rows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

from schemas.control.connect import take_write_lock
from schemas.control.tables import logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


class LogDividedAnewError(Exception):
    """The log has another number of partitions than before: visitors would change theirs, and all be read again."""


async def number_of_log(control: AsyncEngine, identity: str, clock: Callable[[], int]) -> int:
    """Give the log's number; a log never seen before gets the next one. Safe to call by several processes at once.

    Raise LogDividedAnewError where the identity names partitions behind a slash, and was known with others.
    """
    async with control.begin() as connection:
        await take_write_lock(connection)
        await _refuse_divided_anew(connection, identity)
        return await _find(connection, identity) or await _add(connection, identity, clock())


async def adopt_log(control: AsyncEngine, identity: str, clock: Callable[[], int]) -> int:
    """Give the log a new number, so that everything in it counts as never consumed, and return the number.

    For a log that was restored or emptied and now ends below its marks. Events of it that the warehouse already holds
    under the old number are stored again, unless they are recognised by their event id.
    """
    older = logs.c.identity.startswith(f"{identity}#", autoescape=True)
    async with control.begin() as connection:
        await take_write_lock(connection)
        count = await connection.scalar(select(func.count()).where(older))
        renamed = f"{identity}#{(count or 0) + 1}"
        await connection.execute(update(logs).where(logs.c.identity == identity).values(identity=renamed))
        return await _add(connection, identity, clock())


async def _refuse_divided_anew(connection: AsyncConnection, identity: str) -> None:
    name, slash, partitions = identity.rpartition("/")
    if not slash:
        return
    alike = select(logs.c.identity).where(logs.c.identity.startswith(f"{name}/", autoescape=True))
    for other in (await connection.scalars(alike)).all():
        before = other.rpartition("/")[2].partition("#")[0]
        if before != partitions:
            message = (
                f"the topic has {partitions} partitions and had {before}: visitors would change theirs and everything "
                "would be read again. Make a new topic with as many as you want, point PULSE_LOG_URL of the collectors "
                "to it, let the consumers finish the old one, then point theirs to it as well"
            )
            raise LogDividedAnewError(message)


async def _find(connection: AsyncConnection, identity: str) -> int | None:
    return await connection.scalar(select(logs.c.id).where(logs.c.identity == identity))


async def _add(connection: AsyncConnection, identity: str, now: int) -> int:
    """Insert what is not there: an insert in vain would use up a number of PostgreSQL's sequence, and they are few."""
    row = {"identity": identity, "created_at": datetime.fromtimestamp(now / 1000, UTC)}
    made = await connection.scalar(logs.insert().values(row).returning(logs.c.id))
    return int(made or 0)
