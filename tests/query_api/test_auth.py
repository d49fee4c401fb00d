"""Who asks: keys, what is wrong with them, and that what a command changes holds from the moment when it returns."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from multidict import CIMultiDict
from sqlalchemy import event

from query_api.auth import KeyRing, read_key, refuse_scope
from query_api.control.keys import KeyDraft, create_key, list_keys, revoke_key, rotate_key
from query_api.control.organisations import create_project, ensure_project
from query_api.control.sites import SiteDraft, create_site, delete_site
from query_api.errors import ForbiddenError, UnauthorizedError, UnavailableError
from query_api.stream_tokens import create_token, spend_token
from schemas.control.changes import ControlChanges
from schemas.control.connect import POSTGRES, open_control
from tests.servers.control_fixtures import pytest_generate_tests, url_of  # noqa: F401 - pytest calls it

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from tests.servers.postgres import PostgresServer

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)


class Clock:
    """Epoch milliseconds that the test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        """Now."""
        return round(self.now.timestamp() * 1000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def ring(control: AsyncEngine, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KeyRing]:
    monkeypatch.setattr("query_api.auth.READ_SECONDS", 0.01)
    changes = ControlChanges(control)
    ring = KeyRing(control, changes, clock)
    yield ring
    await ring.stop()
    changes.close()


@pytest.fixture
async def project(control: AsyncEngine) -> int:
    return (await ensure_project(control, "pro", NOW)).id


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"Authorization": "Bearer ak_live_x"}, "ak_live_x"),
        ({"authorization": "bearer   ak_live_x "}, "ak_live_x"),
        ({"X-API-Key": "ak_test_y"}, "ak_test_y"),
        ({"X-API-Key": "ak_test_y", "Authorization": "Bearer ak_live_x"}, "ak_live_x"),
    ],
)
def test_a_key_is_found_in_either_header(headers: dict[str, str], key: str) -> None:
    assert read_key(CIMultiDict(headers)) == key


@pytest.mark.parametrize(
    ("headers", "advice"),
    [
        ({}, "Authorization: Bearer"),
        ({"Authorization": "Bearer "}, "Authorization: Bearer"),
        ({"Authorization": "Basic dXNlcjpwYXNz"}, "'Basic'"),
        ({"X-API-Key": ""}, "X-API-Key"),
        ({"X-API-Key": "sk_live_abc"}, "site key"),
    ],
)
def test_what_is_no_key_is_refused_with_advice(headers: dict[str, str], advice: str) -> None:
    with pytest.raises(UnauthorizedError, match=advice) as caught:
        read_key(CIMultiDict(headers))
    assert "WWW-Authenticate" in caught.value.headers


@pytest.mark.parametrize("text", ["ak_live_nobody", "", "x" * 10_000, "\udcff", "ak_live_ü"])
async def test_an_unknown_key_opens_nothing(ring: KeyRing, text: str) -> None:
    with pytest.raises(UnauthorizedError, match="not known"):
        await ring.find(text)


async def test_a_new_key_is_known_and_a_revoked_one_is_not_at_once(
    ring: KeyRing, control: AsyncEngine, project: int
) -> None:
    other = open_control(url_of(control))  # as a command in another process does it
    for _ in range(5):
        key = await create_key(other, project, KeyDraft(), NOW)
        assert (await ring.find(key.text)).key.id == key.key.id
        await revoke_key(other, project, key.key.id, NOW)
        if control.dialect.name == POSTGRES:  # which tells of it a moment later
            await wait_until_refused(ring, key.text)
        with pytest.raises(UnauthorizedError, match="revoked"):
            await ring.find(key.text)
        with pytest.raises(UnauthorizedError):
            await ring.find_by_id(key.key.id)
    await other.dispose()


async def wait_until_refused(ring: KeyRing, text: str) -> None:
    """Ask until the key is refused, for a short time."""
    async with asyncio.timeout(20):
        with suppress(UnauthorizedError, UnavailableError):
            while True:
                await ring.find(text)
                await asyncio.sleep(0.001)


async def test_a_key_expires_to_the_millisecond(
    ring: KeyRing, control: AsyncEngine, project: int, clock: Clock
) -> None:
    key = await create_key(control, project, KeyDraft(expires_at=NOW + timedelta(days=1)), NOW)
    clock.now = NOW + timedelta(days=1, milliseconds=-1)
    await ring.find(key.text)
    clock.now += timedelta(milliseconds=1)
    with pytest.raises(UnauthorizedError, match="expired at 2026-11-22"):
        await ring.find(key.text)


async def test_both_keys_work_while_a_rotation_overlaps(
    ring: KeyRing, control: AsyncEngine, project: int, clock: Clock
) -> None:
    old = await create_key(control, project, KeyDraft(), NOW)
    new = await rotate_key(control, project, old.key.id, timedelta(hours=1), NOW)
    assert (await ring.find(old.text)).key.replaced_by == (await ring.find(new.text)).key.id
    clock.now += timedelta(hours=1)
    await ring.find(new.text)
    with pytest.raises(UnauthorizedError):
        await ring.find(old.text)


async def test_a_key_sees_the_living_sites_of_its_project_and_kind(
    ring: KeyRing, control: AsyncEngine, project: int
) -> None:
    async with control.begin() as connection:
        other = (await create_project(connection, "pro", NOW)).id
    pair = await create_site(control, project, SiteDraft("example.com"), NOW)
    gone = await create_site(control, project, SiteDraft("example.org"), NOW)
    await delete_site(control, project, "example.org", NOW)
    foreign = await create_site(control, other, SiteDraft("example.com"), NOW)
    seen = {}
    for name, owner, sandbox in (("live", project, False), ("test", project, True), ("other", other, False)):
        key = await create_key(control, owner, KeyDraft(sandbox=sandbox), NOW)
        seen[name] = [site.id for site in (await ring.find(key.text)).sites]
    assert seen == {"live": [pair.live.id], "test": [pair.sandbox.id], "other": [foreign.live.id]}
    assert gone.live.id not in seen["live"]


async def test_while_the_control_plane_is_away_nobody_gets_in_and_afterwards_everybody_does(
    ring: KeyRing, control: AsyncEngine, project: int, postgres: PostgresServer
) -> None:
    key = await create_key(control, project, KeyDraft(), NOW)
    await ring.find(key.text)
    await asyncio.to_thread(postgres.kill)
    await wait_until_refused(ring, key.text)
    for text in (key.text, "ak_live_nobody"):  # it may have been revoked, or made
        with pytest.raises(UnavailableError) as caught:
            await ring.find(text)
        assert caught.value.headers["Retry-After"] == "5"
    with pytest.raises(UnavailableError):
        await create_token(control, key.key.id, NOW)
    with pytest.raises(UnavailableError):
        await spend_token(control, "st_x", NOW)
    await asyncio.to_thread(postgres.start)
    assert (await ring.find(key.text)).key == key.key
    with pytest.raises(UnauthorizedError):
        await ring.find("ak_live_nobody")


async def test_a_known_key_costs_no_reading(ring: KeyRing, control: AsyncEngine, project: int) -> None:
    key = await create_key(control, project, KeyDraft(), NOW)
    await ring.find(key.text)
    statements = []
    event.listen(control.sync_engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    for _ in range(100):
        await ring.find(key.text)
        with pytest.raises(UnauthorizedError):
            await ring.find("ak_live_guess")
    assert statements == []


async def test_a_crowd_after_a_change_reads_once(ring: KeyRing, control: AsyncEngine, project: int) -> None:
    key = await create_key(control, project, KeyDraft(), NOW)
    statements: list[str] = []
    event.listen(control.sync_engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    callers = await asyncio.gather(*(ring.find(key.text) for _ in range(200)))
    assert {caller.key.id for caller in callers} == {key.key.id}
    assert len(statements) == 3  # sites, plans, keys


async def test_use_is_written_down_once_a_minute(
    ring: KeyRing, control: AsyncEngine, project: int, clock: Clock
) -> None:
    key = await create_key(control, project, KeyDraft(), NOW)
    statements: list[str] = []
    event.listen(control.sync_engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    for seconds in (0, 1, 59, 60, 61):
        clock.now = NOW + timedelta(seconds=seconds)
        ring.note_use(await ring.find(key.text))
        await ring.flush_uses()
    assert sum(statement.startswith("UPDATE") for statement in statements) == 2
    assert (await list_keys(control, project))[0].last_used_at == NOW + timedelta(seconds=60)


@pytest.mark.parametrize(
    ("plan", "scopes", "allowed"),
    [
        ("pro", ("read",), True),
        ("enterprise", ("ingest", "read"), True),
        ("pro", ("ingest",), False),
        ("free", ("read",), False),
    ],
)
async def test_scope_and_plan_open_the_api(
    ring: KeyRing, control: AsyncEngine, plan: str, scopes: tuple[str, ...], *, allowed: bool
) -> None:
    async with control.begin() as connection:
        project = (await create_project(connection, plan, NOW)).id
    caller = await ring.find((await create_key(control, project, KeyDraft(scopes=scopes), NOW)).text)
    if allowed:
        refuse_scope(caller, "read")
    else:
        with pytest.raises(ForbiddenError, match=r"plan|scope"):
            refuse_scope(caller, "read")


async def test_a_stream_token_opens_once_within_a_minute(control: AsyncEngine, project: int) -> None:
    key = (await create_key(control, project, KeyDraft(), NOW)).key
    token = await create_token(control, key.id, NOW)
    assert token.expires_at == NOW + timedelta(seconds=60)
    assert await spend_token(control, token.token, NOW + timedelta(seconds=59)) == key.id
    for wrong in (token.token, "st_nothing", ""):
        with pytest.raises(UnauthorizedError, match="stream-tokens"):
            await spend_token(control, wrong, NOW)
    late = await create_token(control, key.id, NOW)
    with pytest.raises(UnauthorizedError):
        await spend_token(control, late.token, NOW + timedelta(seconds=60))


async def test_of_many_who_spend_a_token_one_gets_in(control: AsyncEngine, project: int) -> None:
    key = (await create_key(control, project, KeyDraft(), NOW)).key
    token = (await create_token(control, key.id, NOW)).token
    spent = await asyncio.gather(*(spend_token(control, token, NOW) for _ in range(8)), return_exceptions=True)
    assert [one for one in spent if not isinstance(one, UnauthorizedError)] == [key.id]
