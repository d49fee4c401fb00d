"""What a server does by the clock, seen from outside."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
import structlog
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry
from sqlalchemy.exc import OperationalError

from deploy import jobs, jobs_beside
from deploy.health import make_health_app
from deploy.jobs_beside import ping_jobs
from deploy.promote_mark import mark, remove_mark
from schemas.warehouse.errors import WarehouseDiskError, WarehouseError
from tests.deploy.sending import add_up, send, wait_for
from tests.product import Product, ProductError

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

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
    filled.process.wait(120)
    with filled:
        wait_for(lambda: add_up(filled) == {"stored": 1, "in_flight": 0, "erased": 1})


def test_the_last_use_of_an_ingest_key_is_written_down(filled: Product) -> None:
    keys = cast("list[dict[str, object]]", filled.run_json("key", "list")["keys"])
    assert [key["last_used_at"] is not None for key in keys if key["scopes"] == ["ingest"]] == [True]


async def test_jobs_wait_for_the_end_of_a_promotion_and_say_so(
    control: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, done = asyncio.Event(), list[str]()

    async def apply(_between_batches: object) -> None:
        done.append("retention")
        stop.set()

    async def wait(_stop: asyncio.Event, _seconds: float) -> None:
        done.append(str(await ping_jobs(control)))
        if len(done) == 2:
            await remove_mark(control, "a promotion")

    monkeypatch.setattr(jobs_beside, "sleep_until", wait)
    base = SimpleNamespace(control=control)
    consumer = SimpleNamespace(between_batches=asyncio.Lock())
    parts = SimpleNamespace(
        base=base, following=None, consumer=consumer, read_progress=None, retention=SimpleNamespace(apply=apply)
    )
    await mark(control, "a promotion")
    with structlog.testing.capture_logs() as logs:
        await jobs_beside.run_jobs(cast("Parts", parts), stop)
    assert done == [jobs_beside.WAITS, jobs_beside.WAITS, "retention"]
    assert [line["event"] for line in logs] == ["jobs_wait"]
    assert await ping_jobs(control) is None


async def test_jobs_that_cannot_ask_whether_they_may_begin_do_not(
    control: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = asyncio.Event()

    async def read(_control: AsyncEngine) -> None:
        raise OperationalError(None, None, ValueError("away"))

    async def wait(_stop: asyncio.Event, _seconds: float) -> None:
        stop.set()

    monkeypatch.setattr(jobs_beside, "read_mark", read)
    monkeypatch.setattr(jobs_beside, "sleep_until", wait)
    with structlog.testing.capture_logs() as logs:
        await jobs_beside.wait_for_promotion(control, stop)
    assert [line["event"] for line in logs] == ["promotion_not_looked_for"]


async def test_a_part_that_waits_is_well_and_says_what_it_waits_for() -> None:
    async def ping() -> str:
        return "waits"

    async def fail() -> None:
        raise ValueError

    bodies = []
    for pings in ({"jobs": ping}, {"jobs": ping, "log": fail}):
        async with TestClient(TestServer(make_health_app(pings, CollectorRegistry()))) as client:
            answer = await client.get("/readyz")
            bodies.append((answer.status, (await answer.json())["parts"]))
    assert bodies == [(200, {"jobs": "waits"}), (503, {"jobs": "waits", "log": "failing"})]


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
