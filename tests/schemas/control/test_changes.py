"""A change by anybody is seen, whatever happened to the server meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from schemas.control.changes import ControlChanges
from schemas.control.connect import open_control
from schemas.control.tables import keys, metadata, salts
from schemas.control.view import ControlView
from tests.ingest.collecting import KEY, add_key, add_project, add_site, change_site
from tests.servers.control_fixtures import pytest_generate_tests, url_of  # noqa: F401 - pytest calls it

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from tests.servers.postgres import PostgresServer

NAMES = text("SELECT name FROM sites")
TOLD = text("""
SELECT event_object_table, event_manipulation, array_agg(event_object_column::text)
FROM information_schema.triggers LEFT JOIN information_schema.triggered_update_columns
USING (trigger_name, event_object_table) GROUP BY 1, 2
""")


@pytest.fixture
async def other(control: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    """The same control plane as another process opens it, with a site."""
    await add_project(control)
    await add_site(control, KEY, name="first")
    engine = open_control(url_of(control))
    yield engine
    await engine.dispose()


@pytest.fixture
async def changes(control: AsyncEngine, other: AsyncEngine) -> AsyncIterator[ControlChanges]:
    changes = ControlChanges(control)
    await changes.look()
    yield changes
    changes.close()
    del other


async def read_names(connection: AsyncConnection) -> list[str]:
    return list((await connection.scalars(NAMES)).all())


async def test_nothing_changes_by_itself(changes: ControlChanges) -> None:
    before = changes.read_version()
    for _ in range(3):
        await changes.look()
        assert changes.read_version() == before


async def test_every_commit_of_somebody_else_is_seen_by_the_next_look(
    changes: ControlChanges, other: AsyncEngine
) -> None:
    for number in range(50):
        before = changes.read_version()
        await change_site(other, KEY, name=str(number))
        await changes.look()
        assert changes.read_version() != before


async def test_what_was_not_committed_changes_nothing(changes: ControlChanges, other: AsyncEngine) -> None:
    before = changes.read_version()
    async with other.connect() as connection:
        await connection.execute(salts.select())
        await connection.rollback()
    await changes.look()
    assert changes.read_version() == before


async def test_a_view_is_read_once_after_a_change(
    control: AsyncEngine, changes: ControlChanges, other: AsyncEngine
) -> None:
    read = []

    async def count_and_read(connection: AsyncConnection) -> list[str]:
        read.append(await read_names(connection))
        return read[-1]

    view: ControlView[list[str]] = ControlView(control, changes, count_and_read, [], apart=0.01)
    for name in ("a", "b"):
        await change_site(other, KEY, name=name)
        assert await asyncio.gather(*(view.look() for _ in range(20))) == [[name]] * 20
        assert await view.refresh() == [name]
    assert read == [["a"], ["b"]]
    await view.stop()


async def test_a_view_whose_reading_fails_reads_again(control: AsyncEngine, changes: ControlChanges) -> None:
    async def fail(_connection: AsyncConnection) -> list[str]:
        message = "broken"
        raise LookupError(message)

    view = ControlView(control, changes, fail, ["empty"], apart=0)
    for _ in range(2):
        with pytest.raises(LookupError):
            await view.look()
        assert not view.is_current()
    assert view.known == ["empty"]


async def test_while_nothing_is_heard_everything_counts_as_changed(
    changes: ControlChanges, other: AsyncEngine, postgres: PostgresServer
) -> None:
    before = changes.read_version()
    with capture_logs() as logs:
        await asyncio.to_thread(postgres.kill)
        await until_ended(changes)
        assert changes.read_version() != changes.read_version()
        await changes.look()
        await asyncio.to_thread(postgres.start)
        await change_site(other, KEY, name="missed")
        await until_heard(changes)
    after = changes.read_version()
    assert after == changes.read_version()
    assert after != before
    assert [line["event"] for line in logs] == ["control_changes_not_heard"]
    await change_site(other, KEY, name="heard")
    await changes.look()
    assert changes.read_version() != after


@pytest.mark.usefixtures("postgres")
async def test_the_last_use_of_a_key_is_not_told(
    changes: ControlChanges, control: AsyncEngine, other: AsyncEngine
) -> None:
    await add_key(control, "ak_live_1")
    await changes.look()
    before = changes.read_version()
    async with other.begin() as connection:
        await connection.execute(keys.update().values(last_used_at=None))
    await changes.look()
    assert changes.read_version() == before


@pytest.mark.usefixtures("postgres")
async def test_every_other_column_of_what_is_kept_in_memory_is_told(control: AsyncEngine) -> None:
    async with control.connect() as connection:
        found = {(row[0], row[1]): set(row[2]) for row in await connection.execute(TOLD)}
    tables = {"organisations", "projects", "sites", "keys"}
    assert {table for table, _ in found} == tables
    for table in tables:
        assert {event for name, event in found if name == table} == {"INSERT", "UPDATE", "DELETE"}
    assert found["keys", "UPDATE"] == {column.name for column in metadata.tables["keys"].c} - {"last_used_at"}
    assert found["sites", "UPDATE"] == {None}


async def until_ended(changes: ControlChanges) -> None:
    """Wait until it knows that it is deaf."""
    async with asyncio.timeout(60):
        while changes.read_version()[0] != -1:  # noqa: ASYNC110 (a state of the product, as below)
            await asyncio.sleep(0.001)


async def until_heard(changes: ControlChanges) -> None:
    """Wait until it listens again."""
    async with asyncio.timeout(60):
        while changes.read_version()[0] == -1:  # noqa: ASYNC110 (which has no event to wait for)
            await asyncio.sleep(0.001)
