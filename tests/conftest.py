"""What tests share: one warehouse engine for the whole run (it allows one folder a process), a database a test."""

from __future__ import annotations

import itertools
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from schemas.control.connect import migrate_control, open_control
from schemas.warehouse.client import Warehouse
from schemas.warehouse.migrate import migrate
from tests.door.fixtures import cluster_door, door  # noqa: F401 - fixtures
from tests.exactly.profiles import register_profiles
from tests.servers.control_fixtures import making_url, postgres, valkey  # noqa: F401 - two are fixtures
from tests.servers.kafka_fixture import kafka_server  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

numbers = itertools.count(1)
register_profiles()


@pytest.fixture(scope="session")
def embedded_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of the one embedded engine of this process."""
    return f"chdb:///{tmp_path_factory.mktemp('engine')}"


@pytest.fixture(scope="session")
def engine_url(request: pytest.FixtureRequest) -> str:
    """URL of the warehouse that the run is for: PULSE_TEST_CLICKHOUSE_URL, else the engine in this process.

    `door` starts a door, `cluster` one that plays a cluster of one shard.
    """
    url = os.environ.get("PULSE_TEST_CLICKHOUSE_URL", "")
    if url == "door":
        return str(request.getfixturevalue("door").url)
    if url == "cluster":
        return f"{request.getfixturevalue('cluster_door').url}/?cluster=pulse"
    return url or str(request.getfixturevalue("embedded_url"))


@asynccontextmanager
async def open_empty(url: str) -> AsyncIterator[Warehouse]:
    """A migrated, empty warehouse in a database of its own, which goes with it."""
    database = f"test_{os.getpid()}_{next(numbers)}"
    warehouse = Warehouse(url, size=2, database=database)
    await migrate(warehouse)
    yield warehouse
    await warehouse.command(f"DROP DATABASE {database} SYNC")
    await warehouse.close()


@pytest.fixture
async def warehouse(engine_url: str) -> AsyncIterator[Warehouse]:
    """A migrated, empty warehouse."""
    async with open_empty(engine_url) as warehouse:
        yield warehouse


@pytest.fixture
async def embedded_warehouse(embedded_url: str) -> AsyncIterator[Warehouse]:
    """The same of the engine in this process, whatever the run is for: where the test is about that engine."""
    async with open_empty(embedded_url) as warehouse:
        yield warehouse


@pytest.fixture
async def control(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """A migrated, empty control plane, on SQLite if the module does not ask for each kind."""
    async with making_url(request, tmp_path) as url:
        engine = open_control(url)
        await migrate_control(engine)
        yield engine
        await engine.dispose()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--no-skips` is how scripts/test and CI run."""
    parser.addoption("--no-skips", action="store_true", help="a skipped test fails the run")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A skipped test is not a passed one."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.getoption("--no-skips") and reporter is not None and reporter.stats.get("skipped"):
        reporter.write_line("a test was skipped: --no-skips makes that a failure", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
