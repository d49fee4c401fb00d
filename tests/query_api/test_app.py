"""The shell of the query API over HTTP: keys, errors, limits, sites, status, documents, and what it never shows."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from query_api.control.keys import KeyDraft, create_key, revoke_key
from query_api.control.sites import SiteDraft, create_site, delete_site
from query_api.endpoints import ENDPOINTS
from tests.query_api.serving import NOW, TODAY, insert_view, make_tenant, serve

if TYPE_CHECKING:
    import pytest
    from sqlalchemy.ext.asyncio import AsyncEngine

    from query_api.endpoints import Endpoint
    from tests.query_api.serving import Answer, Api, Parts, Tenant

KEYED = [endpoint for endpoint in ENDPOINTS if endpoint.opens != "anybody"]
ASKED = [endpoint for endpoint in KEYED if endpoint.method == "GET" and endpoint.shape == "rows"]


def to_url(endpoint: Endpoint) -> str:
    """A good question of this endpoint."""
    return f"{endpoint.path}?{TODAY}" if endpoint.required else endpoint.path


def assert_error(answer: Answer, status: int, code: str) -> dict[str, object]:
    """The shape of every failure."""
    body = answer.json()
    assert (answer.status, body["code"]) == (status, code)
    assert set(body) <= {"error", "code", "request_id", "field", "details"}
    assert body["request_id"] == answer.headers["X-Request-Id"]
    assert re.fullmatch(r"req_[a-z0-9]{10}", str(body["request_id"]))
    return body


async def test_every_endpoint_answers(api: Api, tenant: Tenant) -> None:
    await insert_view(api.parts.warehouse, tenant.site.live.id, 1, 1)
    for place, endpoint in enumerate(ASKED):
        answer = await api.get(to_url(endpoint), tenant.live)
        assert_answer(answer, endpoint)
        assert answer.headers["X-RateLimit-Remaining"] == str(99 - place)


def assert_answer(answer: Answer, endpoint: Endpoint) -> None:
    """What every good answer has."""
    assert answer.status == 200, answer.body
    assert set(answer.json()) == {"data", "meta"}
    for row in answer.rows:
        endpoint.row.model_validate(row)
    endpoint.meta.model_validate(answer.json()["meta"])
    assert answer.headers["X-RateLimit-Limit"] == "100"
    assert int(answer.headers["X-RateLimit-Reset"]) > 1_700_000_000
    assert answer.headers["X-Request-Id"].startswith("req_")
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_places_say_whose_database_they_come_from(api: Api, tenant: Tenant) -> None:
    answer = await api.get(f"/v1/geo?{TODAY}", tenant.live)
    assert b"attribution" not in answer.body
    api.parts.attribution = "IP Geolocation by DB-IP"
    answer = await api.get(f"/v1/geo?{TODAY}", tenant.live)
    assert b'"attribution":"IP Geolocation by DB-IP"' in answer.body
    answer = await api.get(f"/v1/pages?{TODAY}", tenant.live)
    assert b"attribution" not in answer.body


async def test_every_endpoint_wants_a_key(api: Api) -> None:
    for endpoint in KEYED:
        answer = await api.send(endpoint.method, to_url(endpoint))
        assert_error(answer, 401, "UNAUTHORIZED")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert_error(await api.send(endpoint.method, to_url(endpoint), "ak_live_guess"), 401, "UNAUTHORIZED")


async def test_every_endpoint_wants_scope_and_plan(api: Api, control: AsyncEngine) -> None:
    free = await make_tenant(control, "free.example", plan="free")
    pro = await make_tenant(control, "pro.example")
    ingest = await create_key(control, pro.project, KeyDraft(scopes=("ingest",)), NOW)
    for endpoint in KEYED:
        body = assert_error(await api.send(endpoint.method, to_url(endpoint), free.live), 403, "FORBIDDEN")
        assert "plan" in str(body["error"])
        answer = await api.send(endpoint.method, to_url(endpoint), ingest.text)
        assert "scope 'read'" in str(assert_error(answer, 403, "FORBIDDEN")["error"])
        assert answer.headers["X-RateLimit-Limit"] == "100"


async def test_a_project_without_a_site_is_told_so(api: Api, control: AsyncEngine, tenant: Tenant) -> None:
    await delete_site(control, tenant.project, "example.com", NOW)
    for endpoint in ASKED:
        if "site" in endpoint.report.parameters:
            body = assert_error(await api.get(to_url(endpoint), tenant.live), 403, "FORBIDDEN")
            assert "site create" in str(body["error"])
    assert (await api.get("/v1/sites", tenant.live)).rows == []


async def test_an_unknown_parameter_is_named(api: Api, tenant: Tenant) -> None:
    for endpoint in ASKED:
        join = "&" if "?" in to_url(endpoint) else "?"
        body = assert_error(await api.get(f"{to_url(endpoint)}{join}formatt=csv", tenant.live), 400, "BAD_REQUEST")
        assert body["field"] == "formatt"
        assert "format" in str(body["error"]).replace("formatt", "")
        assert isinstance(body["details"], list)


async def test_all_problems_are_told_at_once(api: Api, tenant: Tenant) -> None:
    answer = await api.get("/v1/pages?start=nonsense&limit=0&colour=red", tenant.live)
    body = assert_error(answer, 400, "BAD_REQUEST")
    details = body["details"]
    assert isinstance(details, list)
    assert {detail["field"] for detail in details} >= {"start", "limit", "colour"}


async def test_missing_parameters_are_named(api: Api, tenant: Tenant) -> None:
    body = assert_error(await api.get("/v1/stats", tenant.live), 400, "BAD_REQUEST")
    assert body["error"] == "Missing required parameters: start, end"
    assert body["field"] == "start"


async def test_a_site_is_asked_for_by_id_or_domain(api: Api, control: AsyncEngine, tenant: Tenant) -> None:
    other = await create_site(control, tenant.project, SiteDraft("example.org"), NOW)
    await insert_view(api.parts.warehouse, tenant.site.live.id, 1, 1)
    await insert_view(api.parts.warehouse, other.live.id, 1, 1)
    one = tenant.site.live.id
    for query, visitors in (("", 2), (f"site={one}", 1), ("site=example.com", 1), (f"site={one}&site=example.org", 2)):
        rows = (await api.get(f"/v1/stats?{TODAY}&{query}", tenant.live)).rows
        assert rows[0]["visitors"] == visitors


async def test_a_key_works_until_it_is_revoked(api: Api, control: AsyncEngine, tenant: Tenant) -> None:
    key = await create_key(control, tenant.project, KeyDraft(), NOW)
    assert (await api.get("/v1/sites", key.text)).status == 200
    await revoke_key(control, tenant.project, key.key.id, NOW)
    assert_error(await api.get("/v1/sites", key.text), 401, "UNAUTHORIZED")


async def test_the_hundred_and_first_request_is_refused(api: Api, tenant: Tenant) -> None:
    for left in range(99, -1, -1):
        answer = await api.get("/v1/sites", tenant.live)
        assert (answer.status, answer.headers["X-RateLimit-Remaining"]) == (200, str(left))
    answer = await api.get("/v1/sites", tenant.live)
    assert_error(answer, 429, "RATE_LIMITED")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    assert (await api.get("/v1/sites", tenant.test)).status == 200


async def test_sites_come_in_pages(api: Api, control: AsyncEngine, tenant: Tenant) -> None:
    for number in range(4):
        await create_site(control, tenant.project, SiteDraft(f"s{number}.example.com"), NOW)
    first = await api.get("/v1/sites?per_page=2", tenant.live)
    assert first.json()["meta"] == {"page": 1, "per_page": 2, "total": 5, "pages": 3}
    last = await api.get("/v1/sites?per_page=2&page=3", tenant.live)
    assert [row["domain"] for row in first.rows + last.rows] == ["example.com", "s0.example.com", "s3.example.com"]
    assert (await api.get("/v1/sites?page=9", tenant.live)).rows == []
    assert first.rows[0] == {
        "id": tenant.site.live.id,
        "domain": "example.com",
        "name": "example.com",
        "site_key": tenant.site.live.site_key,
        "is_active": True,
        "created_at": "2026-11-21T09:30:00.000Z",
        "timezone": "UTC",
    }
    assert (await api.get("/v1/sites", tenant.test)).rows[0]["site_key"] == tenant.site.sandbox.site_key


async def test_a_wrong_page_is_refused(api: Api, tenant: Tenant) -> None:
    for query in ("page=0", "page=-1", "page=x", "per_page=1001", "page=1&page=2", "page=%C2%B2", "page="):
        assert_error(await api.get(f"/v1/sites?{query}", tenant.live), 400, "BAD_REQUEST")


async def test_the_same_rows_come_as_a_file(api: Api, tenant: Tenant) -> None:
    await insert_view(api.parts.warehouse, tenant.site.live.id, 1, 1, pathname="/a,b")
    for path in ("/v1/sites?page=1", "/v1/ledger?" + TODAY, "/v1/pages?" + TODAY):
        by_name = await api.get(path + "&format=csv", tenant.live)
        by_header = await api.get(path, tenant.live, Accept="text/csv")
        assert by_name.headers["Content-Type"].startswith("text/csv")
        assert by_name.body == by_header.body
        rows = (await api.get(path, tenant.live)).rows
        assert by_name.body.count(b"\n") == 1 + len(rows)
        parquet = await api.get(path + "&format=parquet", tenant.live)
        assert pq.read_table(io.BytesIO(parquet.body)).num_rows == len(rows)


async def test_what_is_not_there_is_told_in_the_same_shape(api: Api) -> None:
    for method, path, status, code in (
        ("GET", "/v1/nothing", 404, "NOT_FOUND"),
        ("GET", "/docs/nothing.js", 404, "NOT_FOUND"),
        ("POST", "/v1/stats", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/v1/events", 405, "METHOD_NOT_ALLOWED"),  # here is no collector
        ("DELETE", "/v1/events", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/script.js", 404, "NOT_FOUND"),
        ("PUT", "/script.js", 405, "METHOD_NOT_ALLOWED"),
        ("OPTIONS", "/v1/stats", 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", "/v1/stream-tokens", 405, "METHOD_NOT_ALLOWED"),
    ):
        answer = await api.send(method, path, headers={"Origin": "https://example.com"})
        assert_error(answer, status, code)
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert ("Allow" in answer.headers) == (status == 405)


async def test_a_fault_of_ours_shows_nothing_of_the_inside(
    api: Api, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def explode(*_arguments: object) -> None:
        message = "secret /path"
        raise RuntimeError(message)

    monkeypatch.setattr("query_api.handlers.create_token", explode)
    body = assert_error(await api.send("POST", "/v1/stream-tokens", tenant.live), 500, "INTERNAL_ERROR")
    assert "secret" not in str(body)


async def test_a_question_that_takes_too_much_is_told_what_to_do(parts: Parts, tenant: Tenant) -> None:
    parts.limits = replace(parts.limits, memory=1)
    async with serve(parts) as api:
        body = assert_error(await api.get(f"/v1/stats?{TODAY}", tenant.live), 503, "UNAVAILABLE")
    assert "shorter range" in str(body["error"])


async def test_a_warehouse_that_fails_shows_nothing_of_itself(api: Api, tenant: Tenant) -> None:
    await api.parts.warehouse.command("DROP TABLE events SYNC")
    answer = await api.get(f"/v1/stats?{TODAY}", tenant.live)
    body = assert_error(answer, 503, "UNAVAILABLE")
    assert "Retry-After" in answer.headers
    assert not re.search(r"events|DB::|Code", str(body))


async def test_an_answer_is_kept_until_its_site_changes(api: Api, tenant: Tenant) -> None:
    url = f"/v1/stats?{TODAY}"
    warehouse, site = api.parts.warehouse, tenant.site.live.id
    await insert_view(warehouse, site, 1, 1)
    assert (await api.get(url, tenant.live)).rows[0]["visitors"] == 1
    await insert_view(warehouse, site, 1, 2)
    assert (await api.get(url, tenant.live)).rows[0]["visitors"] == 1  # nobody said that it changed
    api.parts.versions.bump([site])
    assert (await api.get(url, tenant.live)).rows[0]["visitors"] == 2


async def test_status_needs_no_key_and_takes_nothing(api: Api) -> None:
    answer = await api.get("/v1/status")
    assert answer.rows == [{"status": "ok", "version": "1.2.3", "timestamp": "2026-11-21T09:30:00.000Z"}]
    assert_error(await api.get("/v1/status?x=1"), 400, "BAD_REQUEST")


async def test_health_means_that_every_part_answers(api: Api) -> None:
    ready = await api.get("/readyz")
    assert (ready.status, ready.json()) == (200, {"status": "ok", "parts": {"warehouse": "ok", "log": "ok"}})
    api.parts.failing.add("log")
    api.parts.clock.now = NOW.replace(second=2)
    ready = await api.get("/readyz")
    assert (ready.status, ready.json()["parts"]) == (503, {"warehouse": "ok", "log": "failing"})
    assert "secret" not in ready.body.decode()
    assert (await api.get("/v1/status")).rows[0]["status"] == "degraded"
    assert (await api.get("/healthz")).status == 200


async def test_metrics_are_for_the_machine_itself(api: Api) -> None:
    answer = await api.get("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert_error(await api.get("/metrics", X_Forwarded_For="203.0.113.7"), 403, "FORBIDDEN")


async def test_the_documentation_loads_nothing_from_outside(api: Api) -> None:
    page = await api.get("/docs")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())
    assert len(loaded) >= 4
    for path in loaded:
        assert path.startswith("/")
        assert (await api.get(path)).status == 200


async def test_the_document_is_where_people_look_for_it(api: Api) -> None:
    one, other = await api.get("/v1/openapi.json"), await api.get("/api/openapi.json")
    assert one.body == other.body
    assert one.json()["openapi"] == "3.1.0"
