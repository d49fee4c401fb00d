"""A collector behind its real door, on a real port, with a real log and control plane."""

from __future__ import annotations

import io
import secrets
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import aiohttp
import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry

from ingest.collector import Collector, CollectorSettings
from ingest.collector_metrics import CollectorMetrics
from ingest.front import front_alone
from ingest.log.open import open_log
from ingest.log.sqlite_room import Keeping
from ingest.sites import Sites, to_digest
from schemas.control import tables

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from sqlalchemy import Table
    from sqlalchemy.ext.asyncio import AsyncEngine

    from ingest.log import EventLog

NOW = 1_790_000_000_000  # 2026-09-21T13:33:20Z
HOUR = NOW // 3_600_000 * 3600
KEY = "sk_live_a"
URL = "https://example.org/blog"
SCRIPT = b"console.log('pulse')"


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        """Epoch milliseconds."""
        return self.now


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        """The body as a JSON object."""
        value = orjson.loads(self.body)
        assert isinstance(value, dict)
        return value

    @property
    def codes(self) -> list[tuple[int, str]]:
        """Index and code of every refused record."""
        refused = self.json["refused"]
        assert isinstance(refused, list)
        return [(item["index"], item["code"]) for item in refused]


@dataclass(frozen=True, slots=True)
class Door:
    """A running collector and what is behind it."""

    port: int
    session: aiohttp.ClientSession
    collector: Collector
    metrics: CollectorMetrics
    log: EventLog
    control: AsyncEngine
    clock: Clock

    async def post(self, body: object, headers: Mapping[str, str] | None = None) -> Reply:
        """POST /v1/events with bytes as they are, anything else as JSON."""
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        return await self.request("POST", "/v1/events", {"Content-Type": "application/json", **(headers or {})}, data)

    async def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, data: bytes | None = None
    ) -> Reply:
        """Any request."""
        url = f"http://127.0.0.1:{self.port}{path}"
        async with self.session.request(method, url, headers=headers, data=data and io.BytesIO(data)) as response:
            return Reply(response.status, response.headers, await response.read())

    async def read_lines(self) -> list[dict[str, object]]:
        """Every line in the log, partition by partition."""
        bodies = [
            record.body
            for partition in range(self.log.partitions)
            for record in await self.log.read(partition, 0, 2**30)
        ]
        return [orjson.loads(line) for body in bodies for line in body.splitlines()]

    async def read_counts(self) -> dict[tuple[int, int, str], int]:
        """What the headers of all blocks say, by (site, hour, reason)."""
        counts: Counter[tuple[int, int, str]] = Counter()
        for partition in range(self.log.partitions):
            for _, headers in await self.log.read_headers(partition, 0):
                for count in headers.counts:
                    counts[count.site_id, count.hour, count.reason] += count.count
        return dict(counts)


def make_event(**fields: object) -> dict[str, object]:
    """An event that is accepted, with other fields."""
    return {"site_key": KEY, "url": URL, **fields}


@asynccontextmanager
async def collecting(
    folder: Path, control: AsyncEngine, settings: CollectorSettings | None = None, log: EventLog | None = None
) -> AsyncIterator[Door]:
    """Run a collector with one site, `KEY`, in project 1."""
    await add_project(control)
    await add_site(control, KEY)
    clock = Clock()
    own = await open_log(f"sqlite:///{folder}/log.db", Keeping(), clock) if log is None else None
    log = log or own
    assert log is not None
    sites = Sites(control)
    await sites.start()
    metrics = CollectorMetrics(CollectorRegistry())
    collector = Collector(log, sites, settings or CollectorSettings(per_address=0, script=SCRIPT), clock, metrics)
    try:
        async with (
            serving(front_alone(collector)) as port,
            aiohttp.ClientSession(auto_decompress=False) as session,
        ):
            yield Door(port, session, collector, metrics, log, control, clock)
    finally:
        await collector.stop()
        await sites.stop()
        if own is not None:
            await own.close()


@asynccontextmanager
async def serving(server: web.Server) -> AsyncIterator[int]:
    """Serve on a free port of the loopback."""
    runner = web.ServerRunner(server, shutdown_timeout=2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield site.port
    finally:
        await runner.cleanup()


async def add_project(control: AsyncEngine) -> int:
    """Make an organisation with one project and give the project's id."""
    now = datetime.now(UTC)
    owner = await _insert(control, tables.organisations, {"name": "o", "plan": "pro", "created_at": now})
    return await _insert(control, tables.projects, {"organisation_id": owner, "name": "p", "created_at": now})


async def _insert(control: AsyncEngine, table: Table, values: Mapping[str, object]) -> int:
    async with control.begin() as connection:
        made = (await connection.execute(table.insert().values(values))).inserted_primary_key
        assert made is not None
        return int(made[0])


async def add_site(control: AsyncEngine, key: str, **columns: object) -> int:
    """Make a site of project 1 and give its id."""
    values = {
        "project_id": 1,
        "sandbox": key.startswith("sk_test_"),
        "domain": f"{secrets.token_hex(4)}.example",
        "name": key,
        "timezone": "UTC",
        "site_key": key,
        "is_active": True,
        "allowed_hostnames": [],
        "excluded_addresses": [],
        "visitor_key": secrets.token_bytes(32),
        "created_at": datetime.now(UTC),
        **columns,
    }
    return await _insert(control, tables.sites, values)


async def change_site(control: AsyncEngine, key: str, **columns: object) -> None:
    """Change a site, as a command of another process would."""
    async with control.begin() as connection:
        await connection.execute(tables.sites.update().where(tables.sites.c.site_key == key).values(**columns))


async def add_key(control: AsyncEngine, key: str, **columns: object) -> None:
    """Make a project key of scope ingest."""
    values = {
        "project_id": 1,
        "sandbox": key.startswith("ak_test_"),
        "name": "k",
        "digest": to_digest(key),
        "hint": key[:12],
        "scopes": ["ingest"],
        "created_at": datetime.now(UTC),
        **columns,
    }
    await _insert(control, tables.keys, values)
