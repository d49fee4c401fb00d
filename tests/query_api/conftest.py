"""A running query API for the tests of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.query_api.serving import Parts, make_tenant, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from schemas.warehouse.client import Warehouse
    from tests.query_api.serving import Api, Tenant


@pytest.fixture
def parts(warehouse: Warehouse, control: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> Parts:
    """What the application is built on; the control plane is read again without delay."""
    monkeypatch.setattr("query_api.auth.READ_SECONDS", 0.001)
    return Parts(warehouse, control)


@pytest.fixture
async def tenant(control: AsyncEngine) -> Tenant:
    """A project with the site example.com."""
    return await make_tenant(control, "example.com")


@pytest.fixture
async def api(parts: Parts) -> AsyncIterator[Api]:
    """A running server."""
    async with serve(parts) as api:
        yield api
