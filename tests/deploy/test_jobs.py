"""What a server does by the clock, seen from outside."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
import structlog

from deploy import jobs
from schemas.warehouse.errors import WarehouseDiskError, WarehouseError
from tests.deploy.sending import add_up, send, wait_for
from tests.product import Product, ProductError

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.parts import Parts

DAY = 86_400_000


@pytest.fixture
def filled(tmp_path: Path) -> Product:
    """A stopped product that holds an event of today and one of 100 days ago; the site keeps one month."""
    with Product(tmp_path) as product:
        site_key = product.run_json("site", "create", "--domain", "a.example")["site_key"]
        key = str(product.run_json("key", "create", "--scope", "ingest")["key"])
        old = int(time.time() * 1000) - 100 * DAY
        event = {"site_key": site_key, "url": "https://a.example/"}
        send(product, key, event, event | {"timestamp": old})
        wait_for(lambda: add_up(product)["stored"] == 2)
    product.run("site", "update", "a.example", "--retention-months", "1")
    return product


def test_a_server_erases_what_a_site_no_longer_keeps(filled: Product) -> None:
    with filled:
        wait_for(lambda: add_up(filled) == {"stored": 1, "in_flight": 0, "erased": 1})


def test_an_erasure_that_a_crash_cut_short_is_finished_by_the_next_server(filled: Product) -> None:
    with suppress(ProductError):
        filled.start("--failpoint", "counted")
    assert filled.process is not None
    filled.process.wait(30)
    with filled:
        wait_for(lambda: add_up(filled) == {"stored": 1, "in_flight": 0, "erased": 1})


def test_the_last_use_of_an_ingest_key_is_written_down(filled: Product) -> None:
    keys = cast("list[dict[str, object]]", filled.run_json("key", "list")["keys"])
    assert [key["last_used_at"] is not None for key in keys if key["scopes"] == ["ingest"]] == [True]


async def test_the_watch_of_the_disk_outlives_whatever_it_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "DISK_SECONDS", 0.001)
    stop = asyncio.Event()
    found: list[Exception | None] = [WarehouseDiskError("mended"), WarehouseError("cannot be asked"), None]

    async def check_disk() -> None:
        if len(found) == 1:
            stop.set()
        if (problem := found.pop(0)) is not None:
            raise problem

    parts = cast("Parts", SimpleNamespace(warehouse=SimpleNamespace(check_disk=check_disk)))
    with structlog.testing.capture_logs() as logs:
        await jobs.watch_disk(parts, stop)
    assert [line["event"] for line in logs] == ["warehouse_mended", "disk_not_checked"]
