"""The engine in this process: bounded, with our settings, or refused."""

from __future__ import annotations

import pytest

from schemas.warehouse import embedded as embedded_module
from schemas.warehouse import embedded_handle as handle_module
from schemas.warehouse.client import PINNED, Warehouse
from schemas.warehouse.embedded import CACHES, memory_limit
from schemas.warehouse.errors import WarehouseError


@pytest.fixture
def warehouse(embedded_warehouse: Warehouse) -> Warehouse:
    """The engine in this process."""
    return embedded_warehouse


async def test_a_setting_that_does_not_hold_is_refused(
    embedded_url: str, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert warehouse
    monkeypatch.setattr(handle_module, "PINNED", {**PINNED, "no_such_setting_of_ours": 1})
    with pytest.raises(WarehouseError, match="no_such_setting"):
        Warehouse(embedded_url, size=1)


async def test_memory_and_caches_are_bounded_for_the_whole_engine(warehouse: Warehouse) -> None:
    names = {"names": ["max_server_memory_usage", *CACHES]}
    sql = "SELECT name, value FROM system.server_settings WHERE name IN {names:Array(String)}"
    found = {row["name"]: int(row["value"]) for row in (await warehouse.query(sql, names)).to_pylist()}
    assert found == {"max_server_memory_usage": memory_limit(), **CACHES}


async def test_an_engine_with_other_limits_is_refused(
    embedded_url: str, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert warehouse
    monkeypatch.setattr(embedded_module, "MEMORY", 10**9)
    with pytest.raises(WarehouseError, match="max_server_memory_usage"):
        Warehouse(embedded_url, size=1)


def test_a_url_of_neither_kind_is_refused() -> None:
    with pytest.raises(WarehouseError, match="write chdb:////folder"):
        Warehouse("postgresql://localhost/pulse")
