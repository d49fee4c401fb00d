"""A key of one project sees nothing of another's: every endpoint, site parameter, filter, cursor; live and sandbox."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from query_api.endpoints import ENDPOINTS
from schemas.event import BlockHeaders, ReceiptCount
from schemas.in_flight import InFlight
from tests.query_api.serving import NOW, TODAY, insert_view, make_tenant

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from query_api.endpoints import Endpoint
    from tests.query_api.serving import Api, Tenant

READ = [endpoint for endpoint in ENDPOINTS if endpoint.opens == "key" and endpoint.method == "GET"]
WITH_SITE = [endpoint for endpoint in READ if "site" in endpoint.report.parameters]
WITH_FILTERS = [endpoint for endpoint in READ if "filters" in endpoint.report.parameters]
WITH_CURSOR = [endpoint for endpoint in READ if "cursor" in endpoint.report.parameters]
FILTERS = (
    "pathname=^/theirs",
    "pathname!=/nothing",
    "hostname==theirs.example",
    "any.pathname=~theirs",
    "any.pathname!=/nothing",
    "country==FR",
    "country!=XX",
    "props.secret==theirs",
    "event_name=*.*",
)
VIEWS = 4  # of each stranger


def to_url(endpoint: Endpoint, *more: str) -> str:
    """A good question of this endpoint, and more."""
    query = "&".join(([TODAY] if endpoint.required else []) + list(more))
    return f"{endpoint.path}?{query}"


@pytest.fixture
async def stranger(api: Api, control: AsyncEngine) -> Tenant:
    """Another project with views on its live and sandbox site, and as many waiting in the log."""
    stranger = await make_tenant(control, "theirs.example")
    for site in (stranger.site.live, stranger.site.sandbox):
        for visitor in range(VIEWS):
            await insert_view(api.parts.warehouse, site.id, 1, visitor, pathname=f"/theirs/{visitor}")
        hour = int(NOW.replace(minute=0).timestamp())
        headers = BlockHeaders(1, hour * 1000, hour * 1000, (ReceiptCount(site.id, hour, "", VIEWS),))
        api.parts.waiting.append(InFlight(1, len(api.parts.waiting), 0, (headers,)))
    return stranger


@pytest.fixture
async def mine(api: Api, tenant: Tenant) -> Tenant:
    """One view on the live site; the sandbox is empty."""
    await insert_view(api.parts.warehouse, tenant.site.live.id, 1, 77, pathname="/mine")
    return tenant


async def read_all(api: Api, tenant: Tenant) -> dict[tuple[str, str], list[dict[str, object]]]:
    """Every endpoint's rows for both keys."""
    keys = {"live": tenant.live, "test": tenant.test}
    return {
        (endpoint.path, kind): (await api.get(to_url(endpoint), keys[kind])).rows
        for endpoint, kind in itertools.product(READ, keys)
    }


async def test_the_presence_of_strangers_changes_no_answer(api: Api, control: AsyncEngine, mine: Tenant) -> None:
    before = await read_all(api, mine)
    stranger = await make_tenant(control, "theirs.example")
    for site in (stranger.site.live, stranger.site.sandbox):
        await insert_view(api.parts.warehouse, site.id, 1, 77, pathname="/theirs")
    api.parts.versions.bump([mine.site.live.id, mine.site.sandbox.id])  # or the cache would answer
    assert await read_all(api, mine) == before


async def test_nothing_of_a_stranger_is_in_any_format(api: Api, mine: Tenant, stranger: Tenant) -> None:
    for endpoint, key, kind in itertools.product(READ, (mine.live, mine.test), ("json", "csv", "ndjson")):
        answer = await api.get(to_url(endpoint, f"format={kind}"), key)
        assert answer.status == 200
        assert b"theirs" not in answer.body
        assert stranger.site.live.site_key.encode() not in answer.body


async def test_a_site_of_a_stranger_does_not_exist(api: Api, mine: Tenant, stranger: Tenant) -> None:
    strange = (stranger.site.live, stranger.site.sandbox)
    other_kind = {mine.live: mine.site.sandbox, mine.test: mine.site.live}
    for endpoint, key in itertools.product(WITH_SITE, (mine.live, mine.test)):
        wanted = [f"site={site.id}" for site in (*strange, other_kind[key])]
        wanted += ["site=theirs.example", f"site=example.com&site={stranger.site.live.id}", "site=999999", "site="]
        for query in wanted:
            answer = await api.get(to_url(endpoint, query), key)
            assert (answer.status, answer.json()["code"]) == (404, "NOT_FOUND"), query


async def test_no_filter_reaches_a_stranger(api: Api, mine: Tenant, stranger: Tenant) -> None:
    for endpoint, condition in itertools.product(WITH_FILTERS, FILTERS):
        alone = await api.get(to_url(endpoint, f"filters={quote(condition)}"), mine.live)
        assert "theirs" not in str(alone.rows)
        for row in alone.rows:
            for figure in ("visitors", "pageviews", "events", "sessions", "current_visitors", "total"):
                assert int(str(row.get(figure, 0))) <= 1, (condition, row)
    assert (await api.get("/v1/stats?" + TODAY, stranger.live)).rows[0]["visitors"] == VIEWS


async def test_a_cursor_of_a_stranger_opens_nothing(api: Api, mine: Tenant, stranger: Tenant) -> None:
    tried = []
    for endpoint in WITH_CURSOR:
        meta = (await api.get(to_url(endpoint, "limit=1"), stranger.live)).json()["meta"]
        assert isinstance(meta, dict)
        if meta["cursor"] is None:
            continue
        tried.append(endpoint.path)
        cursor = "cursor=" + quote(meta["cursor"])
        for key, more in itertools.product((mine.live, mine.test, stranger.test), ("", f"&site={mine.site.live.id}")):
            answer = await api.get(f"{endpoint.path}?{cursor}{more}", key)
            assert answer.status in {400, 404}, answer.body
            assert b"/theirs" not in answer.body
    assert tried == ["/v1/pages"]


async def test_pages_have_a_cursor_to_try(api: Api, stranger: Tenant) -> None:
    first = await api.get(f"/v1/pages?{TODAY}&limit=1", stranger.live)
    meta = first.json()["meta"]
    assert isinstance(meta, dict)
    second = await api.get(f"/v1/pages?cursor={quote(str(meta['cursor']))}", stranger.live)
    assert [row["pathname"] for row in first.rows + second.rows] == ["/theirs/0", "/theirs/1"]


async def test_the_ledger_counts_nothing_of_a_stranger(api: Api, mine: Tenant, stranger: Tenant) -> None:
    for key, expected in ((mine.live, 0), (mine.test, 0), (stranger.live, VIEWS), (stranger.test, VIEWS)):
        rows = (await api.get("/v1/ledger?" + TODAY, key)).rows
        assert sum(int(str(row["in_flight"])) for row in rows) == expected


async def test_a_stream_token_stands_for_its_own_key(api: Api, mine: Tenant, stranger: Tenant) -> None:
    token = (await api.send("POST", "/v1/stream-tokens", mine.live)).json()["token"]
    url = f"/v1/realtime/stream?token={token}&site={stranger.site.live.id}"
    assert (await api.get(url)).status == 404
