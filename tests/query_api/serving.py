"""The query API as it runs: a real server on loopback over a real warehouse and control plane."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from aiohttp.test_utils import TestClient, TestServer
from multidict import CIMultiDict
from prometheus_client import CollectorRegistry

from query_api.app import build_app
from query_api.control.keys import KeyDraft, create_key
from query_api.control.organisations import create_project
from query_api.control.sites import SiteDraft, create_site
from query_api.deps import Deps
from schemas.completeness import Completeness
from schemas.versions import SiteVersions
from schemas.warehouse.client import Limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from aiohttp import web
    from sqlalchemy.ext.asyncio import AsyncEngine

    from query_api.control.sites import SitePair
    from schemas.in_flight import InFlight
    from schemas.warehouse.client import Warehouse

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
TODAY = "start=2026-11-21&end=2026-11-21"
VIEW = """
INSERT INTO events (site_id, local_date, visitor_id, ts, received, name, hostname, pathname, referrer_source, channel,
    country, device_type, browser, os)
SELECT {site:UInt32}, toDate({ts:DateTime64(3, 'UTC')}), {visitor:UInt64}, {ts:DateTime64(3, 'UTC')},
    {ts:DateTime64(3, 'UTC')}, {name:String}, 'example.com', {pathname:String}, 'Direct', 'Direct', {country:String},
    'desktop', 'Firefox', 'Linux'
"""


class Clock:
    """Epoch milliseconds that the test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        """Now."""
        return round(self.now.timestamp() * 1000)


@dataclass
class Parts:
    """What the application is built on, where a test may change it."""

    warehouse: Warehouse
    control: AsyncEngine
    clock: Clock = field(default_factory=Clock)
    versions: SiteVersions = field(default_factory=SiteVersions)
    waiting: list[InFlight] = field(default_factory=list)
    failing: set[str] = field(default_factory=set)
    limits: Limits = field(default_factory=Limits)
    attribution: str = ""

    def to_deps(self) -> Deps:
        """As `deploy` hands them in."""

        async def read_completeness() -> Completeness:
            return Completeness(self.clock(), 0.0, exact=True)

        async def read_in_flight() -> Sequence[InFlight]:
            return self.waiting

        async def ping_log() -> None:
            if "log" in self.failing:
                message = "disk /secret/place is full"
                raise OSError(message)

        return Deps(
            warehouse=self.warehouse,
            control=self.control,
            clock=self.clock,
            read_completeness=read_completeness,
            read_in_flight=read_in_flight,
            versions=self.versions,
            pings={"warehouse": self.warehouse.ping, "log": ping_log},
            registry=CollectorRegistry(),
            limits=self.limits,
            version="1.2.3",
            read_attribution=lambda: self.attribution,
        )


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: CIMultiDict[str]
    body: bytes

    def json(self) -> dict[str, object]:
        """The body as an object."""
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found

    @property
    def rows(self) -> list[dict[str, object]]:
        """`data` of an answer that must be good."""
        assert self.status == 200, self.body
        rows = self.json()["data"]
        assert isinstance(rows, list)
        return rows


@dataclass
class Api:
    """A server and how to ask it."""

    client: TestClient[web.Request, web.Application]
    parts: Parts

    async def get(self, path: str, key: str = "", **headers: str) -> Answer:
        """GET with a key."""
        return await self.send("GET", path, key, headers)

    async def send(self, method: str, path: str, key: str = "", headers: dict[str, str] | None = None) -> Answer:
        """Any method."""
        own = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        own |= {"Authorization": f"Bearer {key}"} if key else {}
        async with self.client.request(method, path, headers=own) as response:
            return Answer(response.status, CIMultiDict(response.headers), await response.read())


@dataclass(frozen=True)
class Tenant:
    """A project with one site and its keys."""

    project: int
    site: SitePair
    live: str
    test: str


async def make_tenant(control: AsyncEngine, domain: str, plan: str = "pro") -> Tenant:
    """An organisation of its own with a site, a live key and a test key."""
    async with control.begin() as connection:
        project = (await create_project(connection, plan, NOW)).id
    site = await create_site(control, project, SiteDraft(domain), NOW)
    live = await create_key(control, project, KeyDraft(), NOW)
    test = await create_key(control, project, replace(KeyDraft(), sandbox=True), NOW)
    return Tenant(project, site, live.text, test.text)


async def insert_view(warehouse: Warehouse, site: int, minutes: float, visitor: int, pathname: str = "/") -> None:
    """A page view so many minutes before NOW."""
    parameters = {"site": site, "visitor": visitor, "pathname": pathname, "name": "pageview", "country": "DE"}
    await warehouse.command(VIEW, parameters | {"ts": NOW - timedelta(minutes=minutes)})


@asynccontextmanager
async def serve(parts: Parts) -> AsyncIterator[Api]:
    """Run the application on a port of loopback."""
    async with TestClient(TestServer(build_app(parts.to_deps()))) as client:
        yield Api(client, parts)
