"""Sites, keys and the first start: what is stored, what is refused, and that every refusal says what to do."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from query_api.control.first_start import ensure_first_start
from query_api.control.keys import KeyDraft, create_key, is_alive, list_keys, revoke_key, rotate_key
from query_api.control.organisations import ensure_project
from query_api.control.sites import (
    SiteChanges,
    SiteDraft,
    create_site,
    delete_site,
    find_site,
    list_sites,
    update_site,
)
from query_api.errors import ApiError, BadRequestError, ConflictError, NotFoundError
from schemas.control.changes import ControlChanges
from schemas.control.connect import open_control
from schemas.control.tables import keys
from tests.servers.control_fixtures import pytest_generate_tests, url_of  # noqa: F401 - pytest calls it

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)


@pytest.fixture
async def project(control: AsyncEngine) -> int:
    return (await ensure_project(control, "pro", NOW)).id


async def test_the_first_start_happens_once(control: AsyncEngine) -> None:
    welcome = await ensure_first_start(control, "pro", NOW)
    assert welcome is not None
    assert welcome.key.text.startswith("ak_live_")
    assert welcome.site.live.site_key.startswith("sk_live_")
    assert await ensure_first_start(control, "pro", NOW) is None
    assert await list_sites(control, welcome.project.id) == (welcome.site,)


async def test_of_many_that_start_at_once_one_is_welcomed(control: AsyncEngine) -> None:
    engines = [open_control(url_of(control)) for _ in range(6)]
    found = await asyncio.gather(*(ensure_first_start(engine, "pro", NOW) for engine in engines))
    assert sum(welcome is not None for welcome in found) == 1
    assert len({(await ensure_project(engine, "pro", NOW)).id for engine in engines}) == 1
    await asyncio.gather(*(engine.dispose() for engine in engines))


async def test_of_many_that_need_a_project_one_makes_it(control: AsyncEngine) -> None:
    engines = [open_control(url_of(control)) for _ in range(6)]
    found = await asyncio.gather(*(ensure_project(engine, "pro", NOW) for engine in engines))
    assert len(set(found)) == 1
    await asyncio.gather(*(engine.dispose() for engine in engines))


async def test_a_project_made_by_a_command_is_the_one_that_the_server_uses(control: AsyncEngine, project: int) -> None:
    assert (await ensure_project(control, "pro", NOW)).id == project
    welcome = await ensure_first_start(control, "pro", NOW)
    assert welcome is not None
    assert welcome.project.id == project


async def test_who_has_a_site_needs_no_welcome(control: AsyncEngine, project: int) -> None:
    await create_site(control, project, SiteDraft("example.com"), NOW)
    assert await ensure_first_start(control, "pro", NOW) is None


async def test_a_site_has_a_twin_in_the_sandbox(control: AsyncEngine, project: int) -> None:
    pair = await create_site(control, project, SiteDraft("Example.COM", timezone="Europe/Berlin"), NOW)
    assert (pair.live.domain, pair.live.name, pair.live.timezone) == ("example.com", "example.com", "Europe/Berlin")
    assert (pair.live.sandbox, pair.sandbox.sandbox) == (False, True)
    assert pair.sandbox.site_key.startswith("sk_test_")
    assert pair.live.created_at == NOW


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("WWW.Example.org.", "example.org"),
        ("münchen.de", "xn--mnchen-3ya.de"),
        ("localhost", "localhost"),
        ("192.0.2.7", "192.0.2.7"),
        ("a.b.example.co.uk", "a.b.example.co.uk"),
    ],
)
async def test_a_domain_is_stored_in_one_form(control: AsyncEngine, project: int, typed: str, stored: str) -> None:
    made = await create_site(control, project, SiteDraft(typed), NOW)
    assert made.live.domain == stored
    assert await find_site(control, project, typed) == made


@pytest.mark.parametrize(
    ("draft", "fields", "advice"),
    [
        (SiteDraft("https://example.com/blog"), ["domain"], "'example.com'"),
        (SiteDraft("example.com:8080"), ["domain"], "'example.com'"),
        (SiteDraft(""), ["domain"], "host name"),
        (SiteDraft("exa mple.com"), ["domain"], "host name"),
        (SiteDraft("-x-.com"), ["domain"], "host name"),
        (SiteDraft("example.com", timezone="Europe/Berln"), ["timezone"], "'Europe/Berlin'"),
        (SiteDraft("example.com", timezone="../etc/passwd"), ["timezone"], "IANA"),
        (SiteDraft("a/b", timezone="Nowhere", name="x" * 201), ["domain", "name", "timezone"], "host alone"),
    ],
)
async def test_a_wrong_site_is_refused_with_advice(
    control: AsyncEngine, project: int, draft: SiteDraft, fields: list[str], advice: str
) -> None:
    with pytest.raises(BadRequestError) as caught:
        await create_site(control, project, draft, NOW)
    assert [problem.field for problem in caught.value.problems] == fields
    assert advice in caught.value.message
    assert await list_sites(control, project) == ()


async def test_a_domain_stands_once_in_a_project(control: AsyncEngine, project: int) -> None:
    first = await create_site(control, project, SiteDraft("example.com"), NOW)
    with pytest.raises(ConflictError, match="already"):
        await create_site(control, project, SiteDraft("example.com"), NOW)
    other = await create_site(control, project, SiteDraft("example.org"), NOW)
    with pytest.raises(ConflictError, match="another"):
        await update_site(control, project, "example.org", SiteChanges(domain="example.com"))
    assert await list_sites(control, project) == (first, other)
    await delete_site(control, project, "example.com", NOW)
    again = await create_site(control, project, SiteDraft("example.com"), NOW)
    assert again.live.id != first.live.id
    assert again.live.site_key != first.live.site_key


async def test_a_site_and_its_twin_change_together(control: AsyncEngine, project: int) -> None:
    made = await create_site(control, project, SiteDraft("example.com"), NOW)
    changes = SiteChanges(
        name="Shop",
        timezone="Asia/Kathmandu",
        is_active=False,
        allowed_hostnames=("Example.com", "*.example.com"),
        excluded_addresses=("203.0.113.7/24", "2001:DB8::1"),
        retention_months=25,
    )
    pair = await update_site(control, project, str(made.sandbox.id), changes)
    for site in (pair.live, pair.sandbox):
        assert (site.name, site.timezone, site.is_active) == ("Shop", "Asia/Kathmandu", False)
        assert site.allowed_hostnames == ("example.com", "*.example.com")
        assert site.excluded_addresses == ("203.0.113.0/24", "2001:db8::1")
        assert site.retention_months == 25
    pair = await update_site(control, project, "example.com", SiteChanges(retention_months=0))
    assert pair.live.retention_months is None
    assert pair.live.name == "Shop"


async def test_nobody_finds_the_site_or_key_of_another_project(control: AsyncEngine, project: int) -> None:
    made = await create_site(control, project, SiteDraft("example.com"), NOW)
    key = await create_key(control, project, KeyDraft(), NOW)
    other = project + 1
    for wanted in ("example.com", str(made.live.id), "nothing", "9" * 30):
        with pytest.raises(NotFoundError, match="pulse site list"):
            await update_site(control, other, wanted, SiteChanges(name="mine"))
        with pytest.raises(NotFoundError):
            await delete_site(control, other, wanted, NOW)
    with pytest.raises(NotFoundError, match="pulse key list"):
        await revoke_key(control, other, key.key.id, NOW)
    with pytest.raises(NotFoundError):
        await rotate_key(control, other, key.key.id, timedelta(0), NOW)
    assert await list_keys(control, other) == ()
    assert await list_sites(control, other) == ()


async def test_a_key_is_stored_as_its_digest_only(control: AsyncEngine, project: int) -> None:
    new = await create_key(control, project, KeyDraft("CI", ("ingest", "read", "read"), sandbox=True), NOW)
    assert new.text.startswith("ak_test_")
    assert len(new.text) == 40
    assert new.key.scopes == ("ingest", "read")
    async with control.connect() as connection:
        row = (await connection.execute(select(keys))).one()
    assert row.digest == hashlib.sha256(new.text.encode()).hexdigest()
    assert new.text not in str(row)


@pytest.mark.parametrize(
    ("draft", "fields"),
    [
        (KeyDraft(scopes=("write",)), ["scope"]),
        (KeyDraft(scopes=()), ["scope"]),
        (KeyDraft(expires_at=NOW), ["expires"]),
        (KeyDraft(name=" "), ["name"]),
        (KeyDraft(name="", scopes=("admin",), expires_at=NOW - timedelta(1)), ["scope", "expires", "name"]),
    ],
)
async def test_a_wrong_key_is_refused(control: AsyncEngine, project: int, draft: KeyDraft, fields: list[str]) -> None:
    with pytest.raises(ApiError) as caught:
        await create_key(control, project, draft, NOW)
    assert [problem.field for problem in caught.value.problems] == fields
    assert await list_keys(control, project) == ()


async def test_a_rotated_key_lives_on_for_the_overlap(control: AsyncEngine, project: int) -> None:
    old = await create_key(control, project, KeyDraft("CI", ("ingest",), expires_at=NOW + timedelta(days=9)), NOW)
    new = await rotate_key(control, project, old.key.id, timedelta(hours=1), NOW)
    before, after = await list_keys(control, project)
    assert (after.scopes, after.name, after.expires_at) == (("ingest",), "CI", NOW + timedelta(days=9))
    assert before.replaced_by == after.id == new.key.id
    assert is_alive(before, NOW + timedelta(minutes=59, seconds=59))
    assert not is_alive(before, NOW + timedelta(hours=1))
    later = await rotate_key(control, project, new.key.id, timedelta(days=30), NOW)
    assert (await list_keys(control, project))[1].expires_at == NOW + timedelta(days=9)
    await revoke_key(control, project, later.key.id, NOW)
    with pytest.raises(ConflictError, match="create a new one"):
        await rotate_key(control, project, later.key.id, timedelta(0), NOW)
    with pytest.raises(BadRequestError):
        await rotate_key(control, project, new.key.id, timedelta(-1), NOW)


async def test_a_change_by_somebody_else_is_seen_at_once(control: AsyncEngine, project: int) -> None:
    changes = ControlChanges(control)
    other = open_control(url_of(control))
    await changes.look()
    before = changes.read_version()
    assert changes.read_version() == before
    await create_site(other, project, SiteDraft("example.com"), NOW)
    await changes.look()
    between = changes.read_version()
    assert between != before
    await create_key(control, project, KeyDraft(), NOW)
    await changes.look()
    assert changes.read_version() != between
    await other.dispose()
    changes.close()
