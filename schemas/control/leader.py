"""At most one process leads: the jobs by the clock must not run twice at once.

On PostgreSQL an advisory lock is held for as long as the connection lives that took it: a leader that dies is followed
within a second, one whose machine vanishes within half a minute, when the server gives its connection up; it notices
by itself before that. On SQLite one process a folder does the jobs, and has taken the lock of that folder: it leads.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import SQLAlchemyError

from schemas.control.connect import SQLITE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

POLL_SECONDS = 1.0

log = structlog.get_logger()


class NotLeadingError(Exception):
    """The lock is lost, or cannot be asked for: another process may lead."""


@asynccontextmanager
async def leading(engine: AsyncEngine, name: str, stop: asyncio.Event) -> AsyncIterator[None]:
    """Wait until this process leads in what is named, then run the block.

    NotLeadingError when `stop` is set before, when the control plane cannot be asked, and when leadership is lost: the
    block is cancelled then.
    """
    if engine.dialect.name == SQLITE:
        yield
        return
    from schemas.control.postgres_lock import holding_lock  # noqa: PLC0415 - loads the driver

    async with AsyncExitStack() as stack:
        try:
            lost = await stack.enter_async_context(holding_lock(engine, to_lock(name), stop, POLL_SECONDS))
        except SQLAlchemyError as error:
            raise NotLeadingError(name) from error
        if lost is None:
            raise NotLeadingError(name)
        log.info("leading", what=name)
        async with _cancelled_by(lost, name):
            yield


async def run_as_leader(
    engine: AsyncEngine, name: str, work: Callable[[], Awaitable[None]], stop: asyncio.Event
) -> None:
    """Run `work` while this process leads, until it returns; raise what it raises.

    When leadership is lost the work is cancelled, and begun again once it is regained. The work heeds `stop` itself.
    """
    while not stop.is_set():
        try:
            async with leading(engine, name, stop):
                await work()
                return
        except NotLeadingError as error:
            if not stop.is_set():
                log.warning("not_leading", what=name, problem=type(error.__cause__ or error).__name__)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), POLL_SECONDS)


def to_lock(name: str) -> int:
    """The number of the lock: 64 bits with a sign."""
    return int.from_bytes(hashlib.sha256(f"pulse leader {name}".encode()).digest()[:8], "big", signed=True)


@asynccontextmanager
async def _cancelled_by(lost: asyncio.Event, name: str) -> AsyncIterator[None]:
    """Cancel the block when the event is set, and raise NotLeadingError in place of that cancellation."""
    block = asyncio.current_task()
    is_ours = False

    async def watch() -> None:
        nonlocal is_ours
        await lost.wait()
        is_ours = True
        if block is not None:
            block.cancel()

    watching = asyncio.create_task(watch(), name=f"leadership of {name}")
    try:
        yield
    except asyncio.CancelledError:
        if is_ours and block is not None and not block.uncancel():
            raise NotLeadingError(name) from None
        raise
    finally:
        watching.cancel()
