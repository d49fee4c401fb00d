"""What the collector knows of sites and keys, and how soon."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from ingest.sites import CHECK_MS, Sites, to_digest
from schemas.control import tables
from tests.ingest.collecting import KEY, NOW, add_key, add_project, add_site, change_site
from tests.servers.control_fixtures import pytest_generate_tests  # noqa: F401 - pytest calls it

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from tests.servers.postgres import PostgresServer


@pytest.fixture
async def sites(control: AsyncEngine) -> AsyncIterator[Sites]:
    await add_project(control)
    await add_site(control, KEY, timezone="Asia/Kathmandu", allowed_hostnames=["a.example"])
    sites = Sites(control)
    await sites.start()
    yield sites
    await sites.stop()


async def test_a_site_is_known_by_key_and_by_id(sites: Sites) -> None:
    site = sites.by_key[KEY]
    assert sites.by_id[site.id] is site
    assert (site.project_id, site.timezone, site.is_active, site.excluded) == (1, "Asia/Kathmandu", True, ())
    assert site.hostnames is not None
    assert site.hostnames.allow("a.example")


async def until_told(sites: Sites) -> None:
    """PostgreSQL tells of a change a moment after the commit."""
    async with asyncio.timeout(60):
        while sites.is_current():  # noqa: ASYNC110 - a state of the product, which has no event to wait for
            await asyncio.sleep(0.001)


async def test_a_change_is_noticed_at_the_next_check(sites: Sites, control: AsyncEngine) -> None:
    assert not sites.is_stale(NOW)
    await change_site(control, KEY, is_active=False)
    await until_told(sites)
    assert not sites.is_stale(NOW + CHECK_MS - 1)
    assert sites.is_stale(NOW + CHECK_MS)
    assert sites.is_stale(NOW + CHECK_MS)  # until it is read
    await sites.look_again()
    assert not sites.by_key[KEY].is_active
    assert not sites.is_stale(NOW + 2 * CHECK_MS)


async def test_a_change_is_noticed_though_the_clock_was_set_back(sites: Sites, control: AsyncEngine) -> None:
    assert not sites.is_stale(NOW)
    await change_site(control, KEY, is_active=False)
    await until_told(sites)
    assert sites.is_stale(NOW - 3_600_000)


async def test_a_look_shows_all_that_was_committed_before_it(sites: Sites, control: AsyncEngine) -> None:
    for number in range(3):
        await add_site(control, f"sk_live_{number}")
        await asyncio.gather(*(sites.look_again() for _ in range(5)))
        assert f"sk_live_{number}" in sites.by_key


async def test_an_unchanged_control_plane_is_not_read_again(sites: Sites) -> None:
    view = sites.by_key
    await sites.look_again()
    assert sites.by_key is view


async def test_deleted_sites_and_revoked_keys_are_gone(sites: Sites, control: AsyncEngine) -> None:
    await add_key(control, "ak_live_1")
    await sites.look_again()
    assert sites.keys_by_digest[to_digest("ak_live_1")].scopes == {"ingest"}
    async with control.begin() as connection:
        await connection.execute(tables.keys.update().values(revoked_at=datetime.now(UTC)))
    await change_site(control, KEY, deleted_at=datetime.now(UTC))
    await sites.look_again()
    assert (sites.by_key, sites.by_id, sites.keys_by_digest) == ({}, {}, {})


async def test_a_key_is_valid_until_it_expires(sites: Sites, control: AsyncEngine) -> None:
    end = datetime.fromtimestamp(NOW / 1000, UTC)
    await add_key(control, "ak_live_1", expires_at=end)
    await add_key(control, "ak_live_2", expires_at=end + timedelta(milliseconds=1))
    await add_key(control, "ak_live_3")
    await sites.look_again()
    keys = [sites.keys_by_digest[to_digest(f"ak_live_{number}")] for number in (1, 2, 3)]
    assert [key.is_valid(NOW) for key in keys] == [False, True, True]


async def test_an_unreadable_excluded_address_does_not_stop_collecting(sites: Sites, control: AsyncEngine) -> None:
    await change_site(control, KEY, excluded_addresses=["rubbish", "198.51.100.1", "2001:db8::1/32"])
    with capture_logs() as logs:
        await sites.look_again()
    assert [str(network) for network in sites.by_key[KEY].excluded] == ["198.51.100.1/32", "2001:db8::/32"]
    assert [line["event"] for line in logs] == ["excluded_address_unreadable"]


async def test_a_control_plane_that_cannot_be_read_leaves_the_view(sites: Sites, control: AsyncEngine) -> None:
    view = sites.by_key
    async with control.begin() as connection:
        await connection.exec_driver_sql("ALTER TABLE keys RENAME TO keys_elsewhere")
    await change_site(control, KEY, name="other")
    with capture_logs() as logs:
        await sites.look_again()
    assert sites.by_key is view
    assert not sites.is_current()
    assert [line["event"] for line in logs] == ["control_plane_unreadable"]
    async with control.begin() as connection:
        await connection.exec_driver_sql("ALTER TABLE keys_elsewhere RENAME TO keys")
    await sites.look_again()
    assert sites.is_current()


async def test_while_the_control_plane_is_away_who_is_known_waits_for_nothing(
    sites: Sites, control: AsyncEngine, postgres: PostgresServer
) -> None:
    await asyncio.to_thread(postgres.kill)
    now = NOW
    with capture_logs() as logs:
        await until_told(sites)
        assert sites.is_stale(now)  # for all that is known so far it may only have changed
        await sites.look_again()
        for _ in range(20):
            now += CHECK_MS
            assert not sites.is_stale(now)
            assert not sites.is_current()
            assert KEY in sites.by_key
            await asyncio.sleep(0)
    assert [line["event"] for line in logs].count("control_plane_unreadable") == 1
    await asyncio.to_thread(postgres.start)
    await change_site(control, KEY, is_active=False)
    async with asyncio.timeout(60):
        while sites.by_key[KEY].is_active:
            now += CHECK_MS
            sites.is_stale(now)  # which begins another try
            await asyncio.sleep(0.01)
        while not sites.is_current():  # it may not be told of changes yet
            await sites.look_again()
