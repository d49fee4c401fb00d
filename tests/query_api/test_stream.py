"""The stream over HTTP: tokens, messages, heartbeats, resuming, and when it ends."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from query_api.control.keys import KeyDraft, create_key, revoke_key
from query_api.control.sites import delete_site
from query_api.deps import HUB
from schemas.event import SiteId
from tests.query_api.serving import NOW, insert_view, make_tenant, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import ClientResponse
    from sqlalchemy.ext.asyncio import AsyncEngine

    from tests.query_api.serving import Api, Parts, Tenant

STREAM = "/v1/realtime/stream"
SOON = 60.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes a second or fifteen takes a tenth."""
    for name, seconds in (("realtime.SPACING", 0.05), ("realtime.RECHECK", 0.05), ("stream.HEARTBEAT", 0.2)):
        monkeypatch.setattr(f"query_api.{name}", seconds)


@dataclass
class Reader:
    """Reads a stream block by block (what stands between two empty lines)."""

    response: ClientResponse

    async def block(self) -> str:
        """The next block; empty at the end."""
        lines = []
        async with asyncio.timeout(SOON):
            while line := (await self.response.content.readline()).decode():
                if line == "\n":
                    break
                lines.append(line)
        return "".join(lines)

    async def event(self) -> tuple[str, dict[str, object]]:
        """The next message as (id, data); comments and settings are passed over."""
        while True:
            block = await self.block()
            assert block, "the stream ended"
            fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if "data" in fields:
                return fields.get("id", ""), json.loads(fields["data"])

    async def paths(self) -> list[object]:
        """Paths of the next message."""
        rows = (await self.event())[1]["data"]
        assert isinstance(rows, list)
        return sorted(row["pathname"] for row in rows)


@asynccontextmanager
async def listening(api: Api, key: str = "", query: str = "", **headers: str) -> AsyncIterator[Reader]:
    """An open stream."""
    own = {name.replace("_", "-"): value for name, value in headers.items()}
    own |= {"Authorization": f"Bearer {key}"} if key else {}
    async with api.client.get(STREAM + query, headers=own) as response:
        assert response.status == 200, await response.text()
        yield Reader(response)


async def arrive(api: Api, site: int, visitor: int, pathname: str, minutes: float = 1) -> None:
    """A page view lands."""
    await insert_view(api.parts.warehouse, site, minutes, visitor, pathname)
    api.parts.versions.bump([SiteId(site)])


async def make_token(api: Api, key: str) -> str:
    answer = await api.send("POST", "/v1/stream-tokens", key)
    assert answer.status == 201
    return str(answer.json()["token"])


async def test_a_listener_sees_who_comes(api: Api, tenant: Tenant) -> None:
    site = tenant.site.live.id
    async with listening(api, tenant.live) as reader:
        assert reader.response.headers["Content-Type"] == "text/event-stream"
        assert reader.response.headers["X-Request-Id"].startswith("req_")
        assert reader.response.headers["X-RateLimit-Limit"] == "100"
        assert await reader.paths() == []
        await arrive(api, site, 1, "/a")
        assert await reader.paths() == ["/a"]
        await arrive(api, site, 2, "/b")
        _, body = await reader.event()
        assert set(body) == {"data", "meta"}


async def test_the_stream_says_what_the_endpoint_says(api: Api, tenant: Tenant) -> None:
    await arrive(api, tenant.site.live.id, 1, "/a")
    async with listening(api, tenant.live) as reader:
        _, streamed = await reader.event()
    assert streamed == (await api.get("/v1/realtime", tenant.live)).json()


async def test_a_filter_holds_in_the_stream(api: Api, tenant: Tenant) -> None:
    await arrive(api, tenant.site.live.id, 1, "/a")
    await arrive(api, tenant.site.live.id, 2, "/b")
    async with listening(api, tenant.live, "?filters=pathname==/b") as reader:
        assert await reader.paths() == ["/b"]


async def test_somebody_who_leaves_is_gone_five_minutes_later(api: Api, tenant: Tenant) -> None:
    await arrive(api, tenant.site.live.id, 1, "/a", minutes=5 - 0.3 / 60)
    async with listening(api, tenant.live) as reader:
        assert await reader.paths() == ["/a"]
        api.parts.clock.now = NOW + timedelta(seconds=1)
        assert await reader.paths() == []


async def test_who_comes_back_says_what_it_has_seen(api: Api, tenant: Tenant) -> None:
    site = tenant.site.live.id
    await arrive(api, site, 1, "/a")
    async with listening(api, tenant.live) as reader:
        seen, _ = await reader.event()
    async with listening(api, tenant.live, Last_Event_ID=seen) as reader:
        assert "retry:" in await reader.block()
        assert await reader.block() == ": heartbeat\n"
        await arrive(api, site, 2, "/b")
        assert await reader.paths() == ["/a", "/b"]
    async with listening(api, tenant.live, f"?last_event_id={seen}") as reader:
        assert await reader.paths() == ["/a", "/b"]


async def test_a_token_opens_one_stream(api: Api, tenant: Tenant) -> None:
    token = await make_token(api, tenant.live)
    async with listening(api, query=f"?token={token}") as reader:
        assert await reader.paths() == []
    again = await api.get(f"{STREAM}?token={token}")
    assert (again.status, again.json()["code"]) == (401, "UNAUTHORIZED")
    late = await make_token(api, tenant.live)
    api.parts.clock.now = NOW + timedelta(seconds=60)
    assert (await api.get(f"{STREAM}?token={late}")).status == 401


async def test_a_key_never_stands_in_a_url(api: Api, tenant: Tenant) -> None:
    for query in (f"?token={tenant.live}", f"?key={tenant.live}", f"?api_key={tenant.live}"):
        assert (await api.get(STREAM + query)).status == 401
    assert (await api.get(f"{STREAM}?key={tenant.live}", tenant.live)).status == 400
    assert (await api.get(f"/v1/stats?period=7d&token={await make_token(api, tenant.live)}")).status == 401


async def test_a_stream_ends_when_its_key_is_revoked(api: Api, control: AsyncEngine, tenant: Tenant) -> None:
    key = await create_key(control, tenant.project, KeyDraft(), NOW)
    async with listening(api, key.text) as reader, listening(api, tenant.live) as other:
        await reader.paths()
        await revoke_key(control, tenant.project, key.key.id, NOW)
        while "event: end" not in (block := await reader.block()):
            assert block
        assert "revoked" in block
        assert await reader.block() == ""
        await other.paths()
        await arrive(api, tenant.site.live.id, 1, "/a")
        assert await other.paths() == ["/a"]


async def test_a_stream_ends_when_its_site_is_deleted(api: Api, control: AsyncEngine, tenant: Tenant) -> None:
    async with listening(api, tenant.live) as reader:
        await reader.paths()
        await delete_site(control, tenant.project, "example.com", NOW)
        while "event: end" not in (block := await reader.block()):
            assert block
        assert "deleted" in block


async def test_streams_end_when_the_server_stops(parts: Parts, control: AsyncEngine) -> None:
    tenant = await make_tenant(control, "example.com")
    async with serve(parts) as api, listening(api, tenant.live) as reader:
        await reader.paths()
        await api.client.app.shutdown()
        while "event: end" not in (block := await reader.block()):
            assert block
        assert "stops" in block


async def test_as_many_streams_as_the_plan_allows(api: Api, tenant: Tenant) -> None:
    readers = [listening(api, tenant.live) for _ in range(15)]
    for reader in readers:
        await reader.__aenter__()
    refused = await api.get(STREAM, tenant.live)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
    assert (await api.get("/v1/sites", tenant.live)).status == 200
    for reader in readers:
        await reader.__aexit__(None, None, None)


async def test_a_listener_that_reads_nothing_is_dropped(
    api: Api, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("query_api.stream.SLOW", 0.2)
    monkeypatch.setattr("query_api.stream.BEAT", b": " + b"x" * 2_000_000 + b"\n\n")
    reader, writer = await asyncio.open_connection(api.client.host, api.client.port, limit=1)
    request = f"GET {STREAM} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {tenant.live}\r\n\r\n"
    writer.write(request.encode())
    hub = api.client.app[HUB]
    async with asyncio.timeout(SOON):
        while not hub.listeners:  # noqa: ASYNC110 - the server says nothing when it has let us in
            await asyncio.sleep(0.01)
        while hub.listeners:  # noqa: ASYNC110 - nor when it drops us
            await asyncio.sleep(0.01)
    assert len(await reader.read()) < 20_000_000
    writer.close()
