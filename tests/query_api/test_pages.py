"""The page at `/` and the demo: what they show, to whom, and that they load nothing from outside."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from query_api.app import build_app
from query_api.control.first_start import ensure_first_start
from query_api.dashboard.fresh import Fresh
from query_api.dashboard.pages import STATIC, add_pages
from query_api.deps import Deps
from schemas.completeness import Completeness
from schemas.warehouse.client import Limits, Warehouse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from aiohttp import web
    from sqlalchemy.ext.asyncio import AsyncEngine

    from query_api.control.first_start import Welcome
    from schemas.in_flight import InFlight

    Client = TestClient[web.Request, web.Application]

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
PAGES = ("/", "/demo/", "/demo/prices", "/demo/second.html")
OUTSIDE = re.compile(r"""(?:src|href|url|@import)\s*[=(]?\s*["']?\s*(?:https?:)?//""")


@dataclass
class Server:
    """What the pages are told of; the tests change it."""

    warehouse: Warehouse
    control: AsyncEngine
    failing: set[str] = field(default_factory=set)
    forwarder: str | None = None

    def to_deps(self) -> Deps:
        """The parts with a clock that stands still."""
        return Deps(
            warehouse=self.warehouse,
            control=self.control,
            clock=lambda: int(NOW.timestamp() * 1000),
            read_completeness=self.read_completeness,
            read_in_flight=self.read_in_flight,
            versions=None,
            pings={"log": self.ping_log, "warehouse": self.warehouse.ping},
            registry=CollectorRegistry(),
            limits=Limits(),
            version="1.2.3",
        )

    async def read_completeness(self) -> Completeness:
        """All is counted."""
        return Completeness(int(NOW.timestamp() * 1000), 0.0, exact=True)

    async def read_in_flight(self) -> Sequence[InFlight]:
        """Nothing waits."""
        return []

    async def ping_log(self) -> None:
        """Fail if the test says so."""
        if "log" in self.failing:
            message = "no room at /secret/path"
            raise OSError(message)


@pytest.fixture
def server(warehouse: Warehouse, control: AsyncEngine) -> Server:
    """A server with nothing in it."""
    return Server(warehouse, control)


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    """Asks the application of that server."""
    app = build_app(server.to_deps())
    add_pages(app, lambda: server.forwarder)
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.fixture
async def welcome(control: AsyncEngine) -> Welcome:
    """What the first start makes, the demo site too."""
    made = await ensure_first_start(control, "pro", NOW)
    assert made is not None
    return made


async def insert_views(warehouse: Warehouse, site: int, paths: Sequence[str], visitor: int = 7) -> None:
    """Page views of one visitor, a second apart, a minute before now."""
    started = int(NOW.timestamp() * 1000) - 60_000
    times = pa.array([started + 1000 * place for place in range(len(paths))], pa.timestamp("ms", "UTC"))
    count = len(paths)
    rows = pa.table(
        {
            "site_id": pa.array([site] * count, pa.uint32()),
            "local_date": pa.array([NOW.date()] * count, pa.date32()),
            "visitor_id": pa.array([visitor] * count, pa.uint64()),
            "ts": times,
            "received": times,
            "name": ["pageview"] * count,
            "interactive": [True] * count,
            "pathname": list(paths),
            "_offset": pa.array(range(count), pa.uint64()),
        }
    )
    await warehouse.insert("events", rows)


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_may_load_nothing_from_outside(client: Client, path: str) -> None:
    answer = await client.get(path)
    assert answer.status == 200
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    text = await answer.text()
    assert not OUTSIDE.search(text)
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", text)


@pytest.mark.parametrize("path", PAGES)
async def test_every_file_that_a_page_names_is_there(client: Client, path: str) -> None:
    text = await (await client.get(path)).text()
    named = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', text))
    assert named
    for name in named:
        answer = await client.get(name)
        assert answer.status == 200, name
        assert not OUTSIDE.search(await answer.text()), name


@pytest.mark.parametrize("name", ["home.html", "none.css", "..%2fpages.py", ""])
async def test_only_styles_scripts_and_pictures_are_files(client: Client, name: str) -> None:
    assert (await client.get(f"/static/{name}")).status == 404


async def test_the_demo_has_its_site_s_snippet(client: Client, welcome: Welcome) -> None:
    for path in ("/demo/", "/demo/second.html"):
        text = await (await client.get(path)).text()
        assert f'data-site-key="{welcome.site.live.site_key}" data-local></script>' in text
        assert welcome.site.sandbox.site_key not in text
        assert "ak_live" not in text


async def test_without_a_demo_site_nothing_is_counted_and_the_page_says_so(client: Client) -> None:
    assert "/script.js" not in await (await client.get("/demo/")).text()
    assert await (await client.get("/demo/numbers")).json() == {"site": None}


async def test_the_demo_s_address_ends_in_a_slash(client: Client) -> None:
    answer = await client.get("/demo", allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (308, "/demo/")


async def test_the_demo_s_numbers_are_those_of_its_pages_alone(
    client: Client, warehouse: Warehouse, welcome: Welcome
) -> None:
    demo = welcome.site.live.id
    await insert_views(warehouse, demo, ["/demo/", "/demo/prices", "/demo/", "/private/plans"])
    await insert_views(warehouse, demo, ["/private/other"], visitor=8)
    await insert_views(warehouse, demo + 100, ["/demo/"], visitor=9)
    numbers = await (await client.get("/demo/numbers")).json()
    assert (numbers["stats"][0]["visitors"], numbers["stats"][0]["pageviews"]) == (1, 3)
    assert [(row["pathname"], row["pageviews"]) for row in numbers["pages"]] == [("/demo/", 2), ("/demo/prices", 1)]
    assert "private" not in str(numbers)
    assert numbers["completeness"]["exact"] is True


async def test_the_state_tells_what_runs_and_what_does_not(client: Client, server: Server) -> None:
    server.failing.add("log")
    answer = await client.get("/state")
    state = await answer.json()
    assert state["version"] == "1.2.3"
    assert state["status"] == "degraded"
    assert state["parts"] == {"log": "failing", "warehouse": "ok"}
    assert "secret" not in await answer.text()


async def test_a_server_that_runs_well_says_how_much_is_counted(client: Client) -> None:
    state = await (await client.get("/state")).json()
    assert state["status"] == "ok"
    assert datetime.fromisoformat(state["completeness"].pop("received_up_to")) == NOW
    assert state["completeness"] == {"lag": 0.0, "exact": True}
    assert state["flow"]["received"] == 0


async def test_how_busy_the_sites_are_is_for_this_machine_only(client: Client) -> None:
    state = await (await client.get("/state", headers={"X-Forwarded-For": "203.0.113.9"})).json()
    assert state["status"] == "ok"
    assert "flow" not in state


@pytest.mark.parametrize("forwarder", [None, "10.0.0.7"])
async def test_a_proxy_that_is_not_trusted_is_told_of(client: Client, server: Server, forwarder: str | None) -> None:
    server.forwarder = forwarder
    assert (await (await client.get("/state")).json())["untrusted_forwarder"] == forwarder


async def test_many_who_ask_at_once_are_answered_by_one_reading() -> None:
    now = 0
    read: list[int] = []

    async def work() -> int:
        read.append(now)
        await asyncio.sleep(0)  # lets the others ask meanwhile
        return len(read)

    fresh = Fresh(work, lambda: now, 100)
    assert await asyncio.gather(*(fresh.get() for _ in range(4))) == [1, 1, 1, 1]
    now = 99
    assert await fresh.get() == 1
    now = 100
    assert await fresh.get() == 2
    assert read == [0, 100]


def test_the_pages_are_small() -> None:
    assert sum(len(item.read_bytes()) for item in STATIC.iterdir()) < 40_000
