"""Sites, keys and limits at the door: what is changed is in force with the next request."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from ingest.collector import CollectorSettings
from ingest.log import LogUnavailableError
from tests.ingest.collecting import HOUR, KEY, NOW, URL, add_key, add_site, change_site, collecting, make_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from tests.ingest.collecting import Door

SERVER = {"Authorization": "Bearer ak_live_server"}


@pytest.fixture
async def door(tmp_path: Path, control: AsyncEngine) -> AsyncIterator[Door]:
    async with collecting(tmp_path, control) as door:
        yield door


async def test_a_new_site_collects_at_once(door: Door) -> None:
    assert (await door.post(make_event(site_key="sk_live_new"))).status == 400
    for number in range(3):
        key = f"sk_live_{number}"
        await add_site(door.control, key)
        assert (await door.post(make_event(site_key=key))).status == 202


async def test_a_paused_site_refuses_and_counts(door: Door) -> None:
    await change_site(door.control, KEY, is_active=False)
    door.clock.now += 5
    reply = await door.post(make_event())
    assert (reply.status, reply.codes) == (400, [(0, "paused")])
    await change_site(door.control, KEY, is_active=True)
    door.clock.now += 5
    assert (await door.post(make_event())).status == 202
    assert await door.read_counts() == {(1, HOUR, ""): 2, (1, HOUR, "paused"): 1}


async def test_hostnames_and_addresses_of_a_site_are_held(door: Door) -> None:
    await change_site(door.control, KEY, allowed_hostnames=["other.example"])
    door.clock.now += 5
    assert (await door.post(make_event())).codes == [(0, "hostname")]
    assert (await door.post(make_event(url="https://www.other.example:81/"))).status == 202
    await change_site(door.control, KEY, excluded_addresses=["127.0.0.0/8"])
    door.clock.now += 5
    assert (await door.post(make_event())).codes == [(0, "excluded_address")]


async def test_a_server_with_a_key_says_who_the_client_is(door: Door) -> None:
    await add_key(door.control, "ak_live_server")
    event = make_event(ip="2001:db8::7", user_agent="Real/1", timestamp="2015-05-17T10:05:03+02:00")
    assert (await door.post(event, SERVER)).status == 202
    assert (await door.post(event, {"X-API-Key": "ak_live_server"})).status == 202
    for line in await door.read_lines():
        assert (line["address"], line["user_agent"], line["ingest"]) == ("2001:db8::7", "Real/1", True)
        assert line["ts"] == 1431849903000
    assert door.collector.key_uses == {1: NOW}


async def test_a_key_that_opens_nothing_is_told_so(door: Door) -> None:
    await add_key(door.control, "ak_live_reader", scopes=["read"])
    for headers, status, code in (
        ({"Authorization": "Bearer ak_live_nobody"}, 401, "UNAUTHORIZED"),
        ({"Authorization": "bearer "}, 401, "UNAUTHORIZED"),
        ({"X-API-Key": "\xff"}, 401, "UNAUTHORIZED"),
        ({"Authorization": "Bearer ak_live_reader"}, 403, "FORBIDDEN"),
    ):
        reply = await door.post(make_event(), headers)
        assert (reply.status, reply.json["code"]) == (status, code)
    assert await door.read_lines() == []


async def test_the_password_of_a_staging_server_is_not_a_key(door: Door) -> None:
    assert (await door.post(make_event(), {"Authorization": "Basic dTpw"})).status == 202


async def test_an_expired_or_revoked_key_is_refused(door: Door) -> None:
    await add_key(door.control, "ak_live_server")
    assert (await door.post(make_event(), SERVER)).status == 202
    async with door.control.begin() as connection:
        await connection.exec_driver_sql("UPDATE keys SET revoked_at = '2026-01-01 00:00:00'")
    door.clock.now += 5
    assert (await door.post(make_event(), SERVER)).status == 401


async def test_a_key_with_a_foreign_site_is_forbidden_and_nothing_is_taken(door: Door) -> None:
    await add_key(door.control, "ak_live_server")
    await add_key(door.control, "ak_test_server")
    async with door.control.begin() as connection:
        await connection.exec_driver_sql("INSERT INTO projects SELECT 2, 1, 'q', created_at FROM projects")
    await add_site(door.control, "sk_live_foreign", project_id=2)
    foreign = [make_event(), make_event(site_key="sk_live_foreign")]
    assert (await door.post(foreign, SERVER)).status == 403
    assert (await door.post(make_event(), {"X-API-Key": "ak_test_server"})).status == 403
    assert await door.read_lines() == []
    assert (await door.post(foreign)).json["accepted"] == 2  # both are public


async def test_an_address_may_send_a_burst_and_then_its_rate(tmp_path: Path, control: AsyncEngine) -> None:
    async with collecting(tmp_path, control, CollectorSettings(per_address=2)) as door:
        assert (await door.post([make_event()] * 20)).status == 202
        reply = await door.post(make_event())
        assert (reply.status, reply.json["code"], reply.headers["Retry-After"]) == (429, "RATE_LIMITED", "1")
        assert (await door.request("GET", f"/v1/pixel.gif?site_key={KEY}&url={URL}")).status == 429
        await add_key(door.control, "ak_live_server")
        assert (await door.post([make_event()] * 20, SERVER)).status == 202  # servers are exempt
        door.clock.now += 500
        assert (await door.post(make_event())).status == 202
        assert await door.read_counts() == {(1, HOUR, ""): 41}


async def test_what_is_over_the_limit_is_not_even_decoded(tmp_path: Path, control: AsyncEngine) -> None:
    async with collecting(tmp_path, control, CollectorSettings(per_address=1)) as door:
        assert (await door.post([{}] * 10)).status == 400
        assert (await door.post(b"[" * 5000)).status == 429


async def test_a_site_has_a_limit_of_its_own(tmp_path: Path, control: AsyncEngine) -> None:
    async with collecting(tmp_path, control, CollectorSettings(per_site=1, per_address=0)) as door:
        await add_site(control, "sk_live_b")
        assert (await door.post([make_event()] * 10)).status == 202
        assert (await door.post(make_event())).status == 429
        assert (await door.post(make_event(site_key="sk_live_b"))).status == 202


async def test_a_trusted_proxy_names_the_client(tmp_path: Path, control: AsyncEngine) -> None:
    settings = CollectorSettings(per_address=2, trusted_proxies=(ip_network("127.0.0.1"),))
    async with collecting(tmp_path, control, settings) as door:
        for client in ("198.51.100.1", "198.51.100.2"):  # each has its own limit
            assert (await door.post([make_event()] * 20, {"X-Forwarded-For": f"6.6.6.6, {client}"})).status == 202
        assert {line["address"] for line in await door.read_lines()} == {"198.51.100.1", "198.51.100.2"}
        assert door.collector.untrusted_forwarder is None


async def test_an_untrusted_proxy_is_told_of(door: Door) -> None:
    with capture_logs() as logs:
        await door.post(make_event(), {"X-Forwarded-For": "198.51.100.1"})
    assert [line["event"] for line in logs] == ["forwarded_headers_not_trusted"]
    assert door.collector.untrusted_forwarder == "127.0.0.1"
    assert [line["address"] for line in await door.read_lines()] == ["127.0.0.1"]


async def test_a_log_that_cannot_take_it_is_a_503(tmp_path: Path, control: AsyncEngine) -> None:
    async with collecting(tmp_path, control) as door:
        await door.log.close()
        for _ in range(2):
            reply = await door.post([make_event(), make_event(name="")])
            assert (reply.status, reply.json["code"]) == (503, "UNAVAILABLE")
            assert int(reply.headers["Retry-After"]) > 0
        pixel = await door.request("GET", f"/v1/pixel.gif?site_key={KEY}&url={URL}")
        assert pixel.status == 503
        with pytest.raises(LogUnavailableError):
            await door.log.ping()


async def test_when_the_control_plane_cannot_be_read_known_sites_go_on(door: Door) -> None:
    async with door.control.begin() as connection:
        await connection.exec_driver_sql("ALTER TABLE keys RENAME TO keys_elsewhere")
    door.clock.now += 5
    assert (await door.post(make_event())).status == 202
    reply = await door.post(make_event(site_key="sk_live_unknown"))
    assert (reply.status, reply.json["code"]) == (503, "UNAVAILABLE")


async def test_many_at_once_are_all_answered_and_all_there(door: Door) -> None:
    async def send(number: int) -> int:
        return (await door.post([make_event(title=str(number), user_id=str(n)) for n in range(5)])).status

    assert await asyncio.gather(*(send(number) for number in range(200))) == [202] * 200
    assert len(await door.read_lines()) == 1000
    assert await door.read_counts() == {(1, HOUR, ""): 1000}
