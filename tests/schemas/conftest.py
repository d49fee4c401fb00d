"""Warehouses of both kinds: the same promises hold on the engine in this process and over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import open_empty

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from schemas.warehouse.client import Warehouse


@pytest.fixture(params=["embedded_url", "server_url"])
def kind_url(request: pytest.FixtureRequest) -> str:
    """The URL of each kind of warehouse, one after the other."""
    return str(request.getfixturevalue(request.param))


@pytest.fixture
async def warehouse(kind_url: str) -> AsyncIterator[Warehouse]:
    """A migrated, empty warehouse, once of each kind."""
    async with open_empty(kind_url) as warehouse:
        yield warehouse


@pytest.fixture(scope="session")
def server_url(request: pytest.FixtureRequest) -> str:
    """A warehouse over HTTP: that which the run is for, or the door."""
    url = str(request.getfixturevalue("engine_url"))
    return url if url.startswith("clickhouse:") else str(request.getfixturevalue("door").url)
