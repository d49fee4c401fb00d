"""The whole product in this process: collector, log, consumer, warehouse and query API behind one real port.

Only two things are not as `pulse serve` has them: the clock, which can be stopped and moved, and how long the consumer
waits between batches.
"""

from __future__ import annotations

import asyncio
import gzip
import itertools
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import TYPE_CHECKING

import aiohttp
import orjson
from sqlalchemy import delete, insert

from deploy.base import open_base
from deploy.http import make_collector, serve_http
from deploy.parts import Parts
from deploy.settings import Settings
from deploy.whole import make_app, make_pings
from ingest.consumer import Consumer
from ingest.consumer import Parts as ConsumerParts
from ingest.consumer_metrics import ConsumerMetrics
from ingest.disk import DiskBudget
from ingest.enrich.geo import GeoWatch
from ingest.enrich.pipeline import Enricher, EnrichMetrics
from ingest.gathering import Sizes
from ingest.logs import number_of_log
from ingest.preparing import Sources
from ingest.retention import Retention
from ingest.salts import Salts
from ingest.site_facts import SiteFactsReader
from ingest.writer import no_failpoint
from query_api.control.keys import KeyDraft, create_key
from schemas.control.tables import organisations, projects, sites
from schemas.versions import SiteVersions
from schemas.warehouse.client import Warehouse
from schemas.warehouse.migrate import migrate
from tests.exactly.lines import write_places
from tests.servers.process import find_free_port

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from tests.model.records import Row, Sent, Site
    from tests.model.sent import Request

DATABASE = "product_exactly"
# Some hours after the autumn change of clocks in America, which so lies within reach of public senders. Far ahead: the
# engine drops event ids by its own clock.
BEGIN = datetime(2031, 11, 2, 18, tzinfo=UTC)
HOUR = 3_600_000
SECONDS = 120.0
QUICK = Sizes(refill=1, wide_age=1)


class Clock:
    """Real time moved to `BEGIN`; it stands still inside `stopped`."""

    def __init__(self) -> None:
        self._ahead = int(BEGIN.timestamp() * 1000) - int(time.time() * 1000)
        self._stopped = 0

    def __call__(self) -> int:
        """Epoch milliseconds."""
        return self._stopped or int(time.time() * 1000) + self._ahead

    def pass_time(self, milliseconds: int) -> None:
        """Let so much time pass at once."""
        self._ahead += milliseconds

    def stop(self, at: int = 0) -> int:
        """Stand still until `go`, now or at another time; what the time is meanwhile."""
        self._stopped = at or self()
        return self._stopped

    def go(self) -> None:
        """Go on."""
        self._stopped = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What the collector said: how many it took, and the places of the others with the reason. `received`: when."""

    received: int
    accepted: int
    refused: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Keys:
    """The two keys of the project, and headers that show them."""

    read: str
    ingest: str


@dataclass(slots=True)
class Product:
    """The running product. `ids` maps the model's sites to those of the example that is under way."""

    parts: Parts
    clock: Clock
    http: aiohttp.ClientSession
    keys: Keys
    landed: asyncio.Event
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    ids: dict[int, int] = field(default_factory=dict)

    async def set_sites(self, wanted: Sequence[Site]) -> None:
        """Put sites of its own in the place of those of the example before."""
        self.ids = {site.id: next(self.numbers) for site in wanted}
        rows = [to_site_row(self.ids[site.id], site, self.parts.base.now()) for site in wanted]
        async with self.parts.base.control.begin() as connection:
            await connection.execute(delete(sites))
            await connection.execute(insert(sites), rows)

    async def send(self, request: Request, skew: int) -> Reply:
        """Send it as a sender whose clock is `skew` milliseconds wrong; the product's clock stands meanwhile."""
        self.clock.pass_time(request.pause)
        received = self.clock.stop()
        try:
            records = [self._to_json(record, request, received, skew) for record in request.records]
            body, headers = encode(records, request)
            first = request.records[0]
            if request.public:
                headers |= {"X-Forwarded-For": first.address, "User-Agent": first.user_agent}
            else:
                headers |= {"Authorization": f"Bearer {self.keys.ingest}"}
            async with self.http.post("/v1/events", data=body, headers=headers) as response:
                said = await response.json()
                assert response.status == (202 if said.get("accepted") else 400), said
                refused = {item["index"]: item["code"] for item in said["refused"]}
                return Reply(received, said["accepted"], refused)
        finally:
            self.clock.go()

    def _to_json(self, sent: Sent, request: Request, received: int, skew: int) -> dict[str, object]:
        fields: dict[str, object] = {
            "site_key": to_site_key(self.ids[sent.site.id]),
            "name": sent.name,
            "url": sent.url,
            "timestamp": sent.ts + skew,
            "referrer": sent.referrer,
            "title": sent.title,
            "props": dict(sent.props),
            "language": sent.language,
            # From a public sender these two are ignored.
            "ip": "1.2.3.4" if request.public else sent.address,
            "user_agent": "curl/8" if request.public else sent.user_agent,
        }
        optional = {
            "event_id": sent.event_id,
            "user_id": sent.user_id,
            "revenue": sent.revenue and dict(zip(("amount", "currency"), sent.revenue, strict=True)),
            "sent_at": received + skew if skew else None,
            "interactive": False if not sent.interactive else None,
            "attempt": sent.attempt if sent.attempt > 1 else None,
            "engaged_ms": sent.engaged_ms if sent.name == "engagement" else None,
            "scroll_depth": sent.scroll_depth if sent.scroll_depth >= 0 else None,
        }
        return fields | {name: value for name, value in optional.items() if value not in ("", None)}

    async def settle(self) -> None:
        """Return when everything that was acknowledged is in the warehouse."""
        async with asyncio.timeout(SECONDS):
            while True:
                self.landed.clear()
                waiting = await self.parts.read_in_flight()
                if not any(part.headers for part in waiting):
                    return
                await self.landed.wait()

    async def ask(self, path: str, query: Sequence[tuple[str, str]]) -> dict[str, object]:
        """The answer to a question that must be answered."""
        headers = {"Authorization": f"Bearer {self.keys.read}"}
        async with self.http.get(path, params=query, headers=headers) as response:
            answer: dict[str, object] = await response.json()
            assert response.status == 200, (path, query, answer)
            return answer

    async def ask_rows(self, path: str, query: Sequence[tuple[str, str]]) -> list[Row]:
        """The rows of the answer."""
        rows = (await self.ask(path, query))["data"]
        assert isinstance(rows, list)
        return rows


def encode(records: Sequence[dict[str, object]], request: Request) -> tuple[bytes, dict[str, str]]:
    """The body and the headers that describe it."""
    whole: object = records[0] if request.form == "object" else records
    body = b"\n".join(map(orjson.dumps, records)) if request.form == "ndjson" else orjson.dumps(whole)
    headers = {"Content-Type": "text/plain" if request.public else "application/json"}
    if request.encoding:
        body = gzip.compress(body) if request.encoding == "gzip" else zstd.compress(body)
        headers["Content-Encoding"] = request.encoding
    return body, headers


def to_site_key(number: int) -> str:
    """The site key of a site id."""
    return f"sk_live_{number:08d}"


def to_site_row(number: int, site: Site, now: datetime) -> dict[str, object]:
    """A row of the control plane."""
    return {
        "id": number,
        "project_id": 1,
        "sandbox": False,
        "domain": site.domain,
        "name": site.domain,
        "timezone": site.timezone,
        "site_key": to_site_key(number),
        "is_active": True,
        "allowed_hostnames": [],
        "excluded_addresses": [],
        "visitor_key": number.to_bytes(32),
        "created_at": now,
    }


async def make_project(control: AsyncEngine, now: datetime) -> Keys:
    """An organisation without limits, a project, a key to read and one to send with."""
    async with control.begin() as connection:
        owner = {"id": 1, "name": "tests", "plan": "enterprise", "created_at": now}
        await connection.execute(insert(organisations).values(owner))
        project = {"id": 1, "organisation_id": 1, "name": "tests", "created_at": now}
        await connection.execute(insert(projects).values(project))
    read = await create_key(control, 1, KeyDraft(scopes=("read",)), now)
    ingest = await create_key(control, 1, KeyDraft(scopes=("ingest",)), now)
    return Keys(read.text, ingest.text)


@asynccontextmanager
async def open_product(folder: Path, engine_url: str) -> AsyncIterator[Product]:
    """Open every part on `folder` and the engine of this process, run it, and close it again."""
    clock = Clock()
    async with AsyncExitStack() as stack:
        parts = await _open_parts(folder, engine_url, clock, stack)
        keys = await make_project(parts.base.control, parts.base.now())
        landed = asyncio.Event()
        parts.consumer.listen(lambda _sites, _received: landed.set())
        stop, ready = asyncio.Event(), asyncio.Event()
        app = make_app(parts, make_pings(parts, works=True), answers=True)
        tasks = [
            asyncio.create_task(serve_http(parts.base, make_collector(parts.base), app, stop, ready)),
            asyncio.create_task(parts.consumer.run(stop)),
        ]
        await ready.wait()
        http = aiohttp.ClientSession(f"http://{parts.base.settings.listen}")
        try:
            yield Product(parts, clock, http, keys, landed)
        finally:
            await http.close()
            stop.set()
            await asyncio.gather(*tasks)


async def _open_parts(folder: Path, engine_url: str, clock: Clock, stack: AsyncExitStack) -> Parts:
    settings = Settings(
        listen=f"127.0.0.1:{find_free_port()}",
        data=folder,
        collect_address_limit=0,
        trusted_proxies=(ip_network("127.0.0.1/32"),),
        geo=str(write_places(folder / "places.mmdb")),
    )
    # The server's own parts but for the clock: nothing in them has read it before it is replaced.
    base = replace(await stack.enter_async_context(open_base(settings)), clock=clock)
    warehouse = Warehouse(engine_url, size=4, database=DATABASE)
    stack.push_async_callback(warehouse.close)
    stack.push_async_callback(warehouse.command, f"DROP DATABASE {DATABASE} SYNC")
    await migrate(warehouse)
    facts = SiteFactsReader(base.control)
    stack.callback(facts.close)
    geo, versions = GeoWatch(folder / "places.mmdb", clock), SiteVersions()
    number = await number_of_log(base.control, base.log.identity, clock)
    consumed = ConsumerParts(
        base.log,
        number,
        warehouse,
        Sources(facts, Salts(base.control, clock), geo.current, clock),
        Enricher(EnrichMetrics(base.registry)),
        DiskBudget(warehouse, folder, 0, clock),
        versions,
        ConsumerMetrics(base.registry),
    )
    retention = Retention(warehouse, base.control, versions, clock, no_failpoint)
    return Parts(base, number, warehouse, versions, Consumer(consumed, QUICK), retention)
