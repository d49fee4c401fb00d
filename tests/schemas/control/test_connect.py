"""The control plane that the setting names is opened, or refused with one line that says why; then it is migrated."""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from schemas.control.connect import MIGRATIONS, migrate_control, open_control
from schemas.control.errors import ControlUnusableError
from schemas.control.tables import facts
from tests.servers.control_fixtures import pytest_generate_tests, url_of  # noqa: F401 - pytest calls it
from tests.servers.postgres import PASSWORD, USER

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from tests.servers.postgres import PostgresServer

SECRET = "hunter2"  # noqa: S105 - it must be in no message
AT = f"postgresql://user:{SECRET}@127.0.0.1"


async def refuse(url: str) -> str:
    """What is said of the URL: one line, the setting's name, never the password."""
    with pytest.raises(ControlUnusableError) as caught:
        await open_and_migrate(url)
    message = str(caught.value)
    assert message.startswith("PULSE_CONTROL_URL: ")
    assert "\n" not in message
    assert SECRET not in message
    assert PASSWORD not in message
    return message


async def open_and_migrate(url: str) -> None:
    engine = open_control(url)
    try:
        await migrate_control(engine)
    finally:
        await engine.dispose()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("rubbish", "it is no URL"),
        (f"postgresql://user:{SECRET}@/x@host:port/x", "%40 for @"),
        (f"postgresql://user:x@{SECRET}@host/x", "more than one @"),
        (f"postgresql://user:x@host/x?sslmode={SECRET}@", "more than one @"),
        (f"mysql://user:{SECRET}@host/x", "mysql://"),
        (f"sqlite://user:{SECRET}@host/x", "sqlite:////absolute/path"),
        (f"postgres://user:{SECRET}@host/x", "postgresql://"),
        (f"postgresql+psycopg://user:{SECRET}@host/x", "psycopg"),
        (AT, "database"),
        ("postgresql://host/x", "user"),
        (f"postgresql://user:{SECRET}@/x", "host"),
        (f"{AT}/x?sslmod=require", "'sslmod' is not known"),
        (f"{AT}/x?sslmode=never", "'never'"),
        (f"{AT}/x?sslmode=require&sslmode=disable", "twice"),
        (f"{AT}/x?sslmode=verify-full&sslrootcert=/nowhere", "certificates"),
        (f"{AT}/x?password_file=/nowhere", "choose one"),
        ("postgresql://user@host/x?password_file=/nowhere", "No such file"),
        (f"{AT}:1/x", "127.0.0.1:1 cannot be reached"),
        (f"postgresql://user:{SECRET}@nowhere.invalid/x", "nowhere.invalid:5432 cannot be reached"),
        ("sqlite://", "sqlite:////absolute/path"),
        ("sqlite:///control.db", "sqlite:///control.db names no absolute path"),
        ("sqlite:////nowhere/control.db", "unable to open database file"),
        (f"sqlite:///{Path(__file__).as_posix()}", "not a database"),
    ],
)
async def test_what_names_no_control_plane_is_refused_with_one_line(url: str, reason: str) -> None:
    assert reason in await refuse(url)


@pytest.mark.parametrize("path", ["/nowhere/control.db", Path(__file__).as_posix()])
async def test_a_file_that_cannot_be_used_leaves_no_thread_behind(path: str) -> None:
    before = set(threading.enumerate())
    await refuse(f"sqlite:///{path}")
    left = [thread for thread in set(threading.enumerate()) - before if "connection_worker" in thread.name]
    for thread in left:  # one that has been told to end may still be at it
        thread.join(10)
    assert not any(thread.is_alive() for thread in left)


async def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "asyncpg" else name)
    assert "pulse-analytics[postgres]" in await refuse(f"{AT}/x")


async def test_what_the_server_refuses_is_told(postgres: PostgresServer) -> None:
    assert "has no database 'nothing'" in await refuse(postgres.url("nothing"))
    assert f"refuses the user '{USER}'" in await refuse(f"postgresql://{USER}:{SECRET}@127.0.0.1:{postgres.port}/x")
    assert "rejected SSL" in await refuse(postgres.url() + "?sslmode=require")
    postgres.run_sql(f"DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN PASSWORD '{SECRET}'")
    assert "'guest' may not make tables" in await refuse(
        f"postgresql://guest:{SECRET}@127.0.0.1:{postgres.port}/postgres"
    )


async def test_a_read_only_server_is_refused(control: AsyncEngine, postgres: PostgresServer) -> None:
    name = str(control.url.database)
    postgres.run_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    try:
        async with control.begin() as connection:
            await connection.execute(text("SET TRANSACTION READ WRITE"))
            await connection.execute(text("DELETE FROM alembic_version"))
        assert "read-only" in await refuse(url_of(control))
    finally:
        postgres.run_sql(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        postgres.run_sql(f"INSERT INTO alembic_version VALUES ('{newest()}')", name)  # noqa: S608 - a constant


async def test_the_password_may_stand_in_a_file_that_changes(
    control: AsyncEngine, postgres: PostgresServer, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text("wrong\n")
    url = f"postgresql://{USER}@127.0.0.1:{postgres.port}/{control.url.database}?password_file={file}"
    assert "refuses the user" in await refuse(url)
    file.write_text(f"{PASSWORD}\n")
    await open_and_migrate(url)


async def test_several_processes_migrate_an_empty_control_plane_at_once(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server: PostgresServer = request.getfixturevalue("postgres")
    server.run_sql("CREATE DATABASE together")
    for url in (f"sqlite:///{tmp_path}/together.db", server.url("together")):
        engines = [open_control(url) for _ in range(5)]
        await asyncio.gather(*(migrate_control(engine) for engine in engines))
        async with engines[0].connect() as connection:
            assert await connection.scalar(text("SELECT version_num FROM alembic_version")) == newest()
        await asyncio.gather(*(engine.dispose() for engine in engines))
    server.run_sql("DROP DATABASE together WITH (FORCE)")


async def test_a_control_plane_of_a_newer_program_is_refused(control: AsyncEngine) -> None:
    change = text("UPDATE alembic_version SET version_num = :version")
    async with control.begin() as connection:
        await connection.execute(change, {"version": "9999"})
    message = await refuse(url_of(control))
    assert "newer version of Pulse" in message
    assert "9999" in message
    async with control.begin() as connection:
        await connection.execute(change, {"version": newest()})


async def test_no_row_stands_in_the_text_of_an_error(control: AsyncEngine) -> None:
    row = {"name": "a name", "value": "a secret"}
    with pytest.raises(IntegrityError, match=r"INSERT INTO facts") as caught:
        async with control.begin() as connection:
            await connection.execute(insert(facts), [row, row])
    assert "a secret" not in str(caught.value)


async def test_a_restarted_server_is_not_noticed(control: AsyncEngine, postgres: PostgresServer) -> None:
    for restart in (postgres.restart, postgres.kill):
        async with control.connect() as first, control.connect() as second:
            assert await first.scalar(text("SELECT 1")) == await second.scalar(text("SELECT 1"))
        await asyncio.to_thread(restart)
        await asyncio.to_thread(postgres.start)
        async with control.connect() as first, control.connect() as second:
            assert await first.scalar(text("SELECT 1")) == await second.scalar(text("SELECT 1"))


async def test_every_way_of_being_away_is_the_same_kind_of_error(
    control: AsyncEngine, postgres: PostgresServer
) -> None:
    async with control.connect() as connection:
        await connection.execute(text("SELECT 1"))
        await asyncio.to_thread(postgres.kill)
        with pytest.raises(SQLAlchemyError):  # in the middle of a transaction
            await connection.execute(text("SELECT 1"))
    for _ in range(2):  # with a pooled connection, and without
        with pytest.raises(SQLAlchemyError):
            async with control.connect():
                pass


async def test_a_statement_that_takes_too_long_is_ended(control: AsyncEngine, postgres: PostgresServer) -> None:
    del postgres
    async with control.connect() as connection:
        await connection.execute(text("SET statement_timeout = '50ms'"))
        with pytest.raises(SQLAlchemyError, match="timeout"):
            await connection.execute(text("SELECT pg_sleep(5)"))


def newest() -> str:
    """The version that this program knows."""
    return max(item.name for item in (MIGRATIONS / "versions").iterdir() if item.name[:1].isdigit())[:4]
