"""Real servers for tests: one of each for the whole run, a database a test.

A test module that must hold on every control plane says
`from tests.servers.control_fixtures import pytest_generate_tests`.
"""

from __future__ import annotations

import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from schemas.control.connect import POSTGRES, SQLITE, migrate_control, open_control
from schemas.control.tables import metadata
from tests.servers.postgres import PostgresServer
from tests.servers.valkey import ValkeyServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

# Emptied and used again: a new database costs five times as much (100 ms).
EMPTY = f"SET lock_timeout = '30s'; TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY"
numbers = itertools.count(1)
free_databases: list[str] = []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test of the module that asks for `control` on each kind of control plane.

    One that asks for `postgres` as well is about that server.
    """
    if "control" in metafunc.fixturenames:
        kinds = [POSTGRES] if "postgres" in metafunc.fixturenames else [SQLITE, POSTGRES]
        metafunc.parametrize("control", kinds, indirect=True)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL. A test that hurts it leaves it running."""
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A Valkey. A test that hurts it leaves it running; each test finds it as the one before left it."""
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@asynccontextmanager
async def making_url(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[str]:
    """URL of an empty control plane of the kind that the test is run on; one on PostgreSQL is migrated."""
    if getattr(request, "param", SQLITE) == SQLITE:
        yield f"sqlite:///{folder}/control.db"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = free_databases.pop() if free_databases else await make_database(server)
    yield server.url(name)
    server.start()
    server.run_sql(EMPTY, name)
    free_databases.append(name)


async def make_database(server: PostgresServer) -> str:
    """A migrated database of its own."""
    name = f"test_{next(numbers)}"
    server.run_sql(f"CREATE DATABASE {name}")
    engine = open_control(server.url(name))
    await migrate_control(engine)
    await engine.dispose()
    return name


def url_of(engine: AsyncEngine) -> str:
    """What `open_control` takes to open the same control plane again, as another process does."""
    return engine.url.set(drivername=engine.dialect.name).render_as_string(hide_password=False)
