"""What `pulse doctor` says of parts of the warehouse that were set aside, and of libraries that were left out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from deploy import doctor
from deploy.doctor import look_at_lag, look_at_libraries, look_at_set_aside
from ingest.log import LogDamagedError
from schemas.warehouse.errors import WarehouseError
from tests.schemas.test_failed_writes import failing_disk

if TYPE_CHECKING:
    from deploy.parts import Parts
    from schemas.warehouse.client import Warehouse


async def test_parts_that_were_set_aside_are_told_with_their_tables(embedded_warehouse: Warehouse) -> None:
    parts = cast("Parts", SimpleNamespace(warehouse=embedded_warehouse))
    assert (await look_at_set_aside(parts)).state == "ok"
    with failing_disk(0), pytest.raises(WarehouseError):
        await embedded_warehouse.command("INSERT INTO events (site_id) SELECT 1")
    finding = await look_at_set_aside(parts)
    assert finding.state == "warning"
    assert "1 set aside (events; " in finding.text


async def test_a_lag_that_cannot_be_read_is_a_finding() -> None:
    async def read_completeness() -> None:
        message = "block 7 is damaged"
        raise LogDamagedError(message)

    parts = cast("Parts", SimpleNamespace(following=object(), read_completeness=read_completeness))
    finding = await look_at_lag(parts)
    assert (finding.state, finding.text) == ("broken", "block 7 is damaged")


def test_a_library_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LIBRARIES", ("aiohttp", "pulse-no-such-library"))
    finding = look_at_libraries()
    assert finding.state == "ok"
    assert finding.text.startswith("aiohttp 3.")
    assert finding.text.endswith(", pulse-no-such-library is not installed")
