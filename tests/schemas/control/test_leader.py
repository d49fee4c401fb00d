"""At most one process leads, and when it dies another does."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from schemas.control.connect import open_control
from schemas.control.leader import NotLeadingError, leading, run_as_leader
from tests.servers.control_fixtures import pytest_generate_tests, url_of  # noqa: F401 - pytest calls it

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from tests.servers.postgres import PostgresServer

PATIENCE = 60
LET_DIE = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"

on_postgres = pytest.mark.usefixtures("postgres")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schemas.control.leader.POLL_SECONDS", 0.02)
    monkeypatch.setattr("schemas.control.postgres_lock.PROBE_SECONDS", PATIENCE)  # a busy server is no lost leadership


class Process:
    """Leads on an engine of its own until it may end."""

    def __init__(self, control: AsyncEngine) -> None:
        self.engine = open_control(url_of(control))
        self.leads = asyncio.Event()
        self.may_end = asyncio.Event()
        self.stop = asyncio.Event()
        self.begun = 0
        self.running = asyncio.create_task(run_as_leader(self.engine, "jobs", self.work, self.stop))

    async def work(self) -> None:
        """Lead."""
        self.begun += 1
        self.leads.set()
        try:
            await self.may_end.wait()
        finally:
            self.leads.clear()


@asynccontextmanager
async def two_processes(control: AsyncEngine) -> AsyncIterator[tuple[Process, Process]]:
    """One that leads and one that waits."""
    first = Process(control)
    async with asyncio.timeout(PATIENCE):
        await first.leads.wait()
        second = Process(control)
        try:
            yield first, second
        finally:
            for process in (first, second):
                process.stop.set()
                process.may_end.set()
                await process.running
                await process.engine.dispose()


async def until(condition: Callable[[], bool]) -> None:
    """Let others run until it holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 (a state of the product, which has no event to wait for)
            await asyncio.sleep(0.001)


async def let_leader_die(control: AsyncEngine, postgres: PostgresServer) -> None:
    """End the connection that holds the lock, from the server's side."""
    await asyncio.to_thread(postgres.run_sql, LET_DIE, str(control.url.database))


@on_postgres
async def test_the_second_leads_when_the_first_has_ended(control: AsyncEngine) -> None:
    async with two_processes(control) as (first, second):
        await asyncio.sleep(0.1)
        assert (first.begun, second.begun) == (1, 0)
        first.may_end.set()
        await second.leads.wait()
        assert not first.leads.is_set()
        await first.running
        assert (first.begun, second.begun) == (1, 1)


async def test_a_leader_whose_connection_dies_stops_and_another_leads(
    control: AsyncEngine, postgres: PostgresServer
) -> None:
    async with two_processes(control) as (first, second):
        for _ in range(3):
            begun = first.begun + second.begun
            await let_leader_die(control, postgres)
            await until(lambda: first.begun + second.begun == begun + 1)  # noqa: B023 - called before the next round
            await until(lambda: first.leads.is_set() != second.leads.is_set())  # who lost it hears so a moment later


async def test_leadership_outlives_a_restart_of_the_server(control: AsyncEngine, postgres: PostgresServer) -> None:
    async with two_processes(control) as (first, second):
        await asyncio.to_thread(postgres.kill)
        await until(lambda: not first.leads.is_set())
        await asyncio.to_thread(postgres.start)
        await until(lambda: first.begun + second.begun == 2)
        assert first.leads.is_set() != second.leads.is_set()


@on_postgres
async def test_who_waits_stops_when_told(control: AsyncEngine) -> None:
    async with two_processes(control) as (_, second):
        second.stop.set()
        await second.running
        assert second.begun == 0


async def test_the_block_of_a_lost_leader_is_cancelled(control: AsyncEngine, postgres: PostgresServer) -> None:
    async def lead() -> None:
        async with leading(control, "jobs", asyncio.Event()), asyncio.timeout(PATIENCE):
            await let_leader_die(control, postgres)
            await asyncio.Event().wait()

    with pytest.raises(NotLeadingError):
        await lead()
    async with leading(control, "jobs", asyncio.Event()):
        pass  # nothing is left behind


@on_postgres
async def test_who_is_cancelled_by_somebody_else_is_cancelled(control: AsyncEngine) -> None:
    async def lead() -> None:
        async with leading(control, "jobs", asyncio.Event()):
            led.set()
            await asyncio.Event().wait()

    led = asyncio.Event()
    task = asyncio.create_task(lead())
    await led.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_the_work_raises_is_raised(control: AsyncEngine) -> None:
    async def work() -> None:
        message = "broken"
        raise LookupError(message)

    with pytest.raises(LookupError, match="broken"):
        await run_as_leader(control, "jobs", work, asyncio.Event())


async def test_on_sqlite_everybody_who_asks_leads(tmp_path: Path) -> None:
    control = open_control(f"sqlite:///{tmp_path}/control.db")
    async with leading(control, "jobs", asyncio.Event()), leading(control, "jobs", asyncio.Event()):
        pass
