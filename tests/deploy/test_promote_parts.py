"""What a promotion copies of the warehouse, and how control planes follow each other."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast
from unittest.mock import AsyncMock

import pytest
from sqlalchemy import delete, insert, select, update

from deploy.admin_move import TABLES
from deploy.copying import OWN, POSITIONED, UNDER_WAY, WHOLE
from deploy.promote import clear_up
from deploy.promote_control import Carrier, destroy_salts, mirror, read_tables, refuse_other_control
from deploy.promote_follow import Follower
from deploy.promote_mark import MARKER, mark, read_mark
from deploy.promote_note import Note, Places, work_folder
from deploy.settings import Settings
from deploy.terminal import CommandError
from schemas.control.connect import migrate_control, open_control
from schemas.control.tables import facts, keys, organisations, projects, salts, sites, stream_tokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from deploy.promote_control import Tables
    from deploy.promote_copy import Show
    from deploy.promote_goal import Sides
    from schemas.warehouse.client import Warehouse

NOW = datetime(2026, 11, 21, tzinfo=UTC)
PROMOTION = "p1"


async def test_every_table_is_copied_or_is_named_as_not_copied(warehouse: Warehouse) -> None:
    tables = (await warehouse.query(TABLES)).column("name").to_pylist()
    assert sorted([*POSITIONED, *WHOLE, *UNDER_WAY, *OWN]) == tables


@pytest.fixture
async def new(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """Another control plane, empty."""
    engine = open_control(f"sqlite:///{tmp_path}/new.db")
    await migrate_control(engine)
    yield engine
    await engine.dispose()


@pytest.fixture
async def carrier(control: AsyncEngine, new: AsyncEngine, tmp_path: Path) -> Carrier:
    """A control plane with something of everything, mirrored."""
    async with control.begin() as connection:
        await connection.execute(insert(organisations).values(id=1, name="o", plan="pro", created_at=NOW))
        await connection.execute(insert(projects).values(id=1, organisation_id=1, name="p", created_at=NOW))
        await connection.execute(insert(sites).values(to_site(1, "a.example")))
        for number, replaced_by in ((2, None), (1, 2)):
            await connection.execute(insert(keys).values(to_key(number) | {"replaced_by": replaced_by}))
        row = {"day": date(2026, 11, 21), "salt": b"s" * 16, "backfill": False, "last_used_at": NOW}
        await connection.execute(insert(salts).values(row))
        await connection.execute(insert(stream_tokens).values(digest="t", key_id=1, expires_at=NOW))
    await refuse_other_control(new, PROMOTION)
    carrier = Carrier(tmp_path / "control.db", new, tmp_path / "known.db")
    await mirror(control, new, PROMOTION, carrier)
    return carrier


def to_site(number: int, domain: str) -> dict[str, object]:
    """A row of `sites`."""
    named = {"id": number, "project_id": 1, "sandbox": False, "domain": domain, "name": domain, "timezone": "UTC"}
    lists: dict[str, object] = {"allowed_hostnames": [], "excluded_addresses": []}
    keyed = {"site_key": f"sk_live_{number}", "is_active": True, "visitor_key": b"v" * 32, "created_at": NOW}
    return {**named, **lists, **keyed}


def to_key(number: int) -> dict[str, object]:
    """A row of `keys`."""
    named = {"id": number, "project_id": 1, "sandbox": False, "name": "k", "digest": str(number), "hint": "ak_"}
    return {**named, "scopes": ["read"], "created_at": NOW}


async def test_a_mirror_is_the_same_to_the_last_row(control: AsyncEngine, new: AsyncEngine, carrier: Carrier) -> None:
    old, copied = await read_tables(control), await read_tables(new)
    marker = {"name": MARKER, "value": PROMOTION}
    assert copied.pop(facts.name) == [*old.pop(facts.name), marker]
    assert copied == old
    assert await carrier.carry() == 0


async def test_what_comes_between_remembering_and_mirroring_is_carried_once(
    control: AsyncEngine, new: AsyncEngine, carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember = carrier.remember

    async def remember_and_go_on() -> Tables:
        tables = await remember()
        async with control.begin() as connection:
            await connection.execute(insert(sites).values(to_site(2, "b.example")))
        return tables

    monkeypatch.setattr(carrier, "remember", remember_and_go_on)
    await mirror(control, new, PROMOTION, carrier)
    assert await carrier.carry() == 1
    assert (await carrier.carry(), carrier.problem) == (0, "")
    assert len((await read_tables(new))["sites"]) == 2


async def test_changes_of_the_old_side_are_carried_and_those_of_the_new_side_stay(
    control: AsyncEngine, new: AsyncEngine, carrier: Carrier
) -> None:
    async with control.begin() as connection:
        await connection.execute(insert(sites).values(to_site(2, "b.example")))
        await connection.execute(update(keys).where(keys.c.id == 2).values(revoked_at=NOW))
        await connection.execute(delete(stream_tokens))
        await connection.execute(delete(salts))
    async with new.begin() as connection:
        await connection.execute(update(sites).where(sites.c.id == 1).values(name="changed"))
    assert await carrier.carry() == 3
    assert await carrier.carry() == 0
    held = await read_tables(new)
    assert [(row["id"], row["name"]) for row in held["sites"]] == [(1, "changed"), (2, "b.example")]
    assert [row["revoked_at"] for row in held["keys"]] == [None, NOW]
    assert held["stream_tokens"] == []
    assert len(held["salts"]) == 1  # the new side's own by now


async def test_a_key_revoked_in_the_new_side_stays_revoked_whatever_the_old_one_writes(
    control: AsyncEngine, new: AsyncEngine, carrier: Carrier
) -> None:
    async with new.begin() as connection:
        await connection.execute(update(keys).where(keys.c.id == 2).values(revoked_at=NOW))
    async with control.begin() as connection:
        await connection.execute(update(keys).values(last_used_at=NOW))
    assert await carrier.carry() == 0
    async with control.begin() as connection:
        await connection.execute(update(keys).where(keys.c.id == 2).values(name="renamed", last_used_at=NOW))
    assert await carrier.carry() == 1
    (row,) = [row for row in (await read_tables(new))["keys"] if row["id"] == 2]
    assert (row["name"], row["revoked_at"], row["last_used_at"]) == ("renamed", NOW, None)


async def test_a_run_that_was_killed_before_it_knew_what_it_had_written_changes_nothing_back(
    control: AsyncEngine, new: AsyncEngine, carrier: Carrier, tmp_path: Path
) -> None:
    before = await asyncio.to_thread((tmp_path / "known.db").read_bytes)
    async with control.begin() as connection:
        await connection.execute(insert(keys).values(to_key(3)))
        await connection.execute(update(sites).values(name="renamed"))
    assert await carrier.carry() == 2
    await asyncio.to_thread((tmp_path / "known.db").rename, tmp_path / "known.latest")
    await asyncio.to_thread((tmp_path / "known.db").write_bytes, before)
    async with new.begin() as connection:
        await connection.execute(update(keys).where(keys.c.id == 3).values(revoked_at=NOW))
    async with control.begin() as connection:
        await connection.execute(update(sites).values(timezone="Asia/Tokyo"))
    await Carrier(tmp_path / "control.db", new, tmp_path / "known.db").carry()
    held = await read_tables(new)
    assert held["keys"][-1]["revoked_at"] == NOW
    assert (held["sites"][0]["name"], held["sites"][0]["timezone"]) == ("renamed", "Asia/Tokyo")


async def test_a_new_control_plane_that_is_away_is_told_once_and_carried_to_later(
    new: AsyncEngine, carrier: Carrier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    sides = SimpleNamespace(settings=Settings(data=tmp_path), warehouse=None, new=new)
    follower = Follower(cast("Sides", sides), carrier, 0.0)
    show = cast("Show", SimpleNamespace(say=said.append))
    with monkeypatch.context() as patch:
        patch.setattr(carrier, "carry", AsyncMock(side_effect=ConnectionRefusedError("nobody listens")))
        await follower.carry(show)
        await follower.carry(show)
    assert said == ["changes of the old control plane wait, and are tried again: nobody listens"]
    await follower.carry(show)
    assert len(said) == 1


async def test_a_domain_may_be_given_up_and_taken_anew_between_two_looks(
    control: AsyncEngine, new: AsyncEngine, carrier: Carrier
) -> None:
    async with control.begin() as connection:
        await connection.execute(update(sites).where(sites.c.id == 1).values(deleted_at=NOW))
        await connection.execute(insert(sites).values(to_site(2, "a.example")))
        await connection.execute(insert(keys).values(to_key(3)))
        await connection.execute(update(keys).where(keys.c.id == 2).values(replaced_by=3))
    assert (await carrier.carry(), carrier.problem) == (4, "")
    held = await read_tables(new)
    assert [(row["domain"], row["deleted_at"]) for row in held["sites"]] == [("a.example", NOW), ("a.example", None)]
    assert [row["replaced_by"] for row in held["keys"]] == [2, 3, None]


async def test_a_contradiction_is_told_until_it_is_gone(
    control: AsyncEngine, new: AsyncEngine, carrier: Carrier
) -> None:
    for engine, number in ((control, 2), (new, 3)):
        async with engine.begin() as connection:
            await connection.execute(insert(sites).values(to_site(number, "same.example")))
    assert await carrier.carry() == 0
    assert "contradicts" in carrier.problem
    async with new.begin() as connection:
        await connection.execute(delete(sites).where(sites.c.id == 3))
    assert await carrier.carry() == 1
    assert carrier.problem == ""


async def test_another_installation_is_refused(new: AsyncEngine, carrier: Carrier) -> None:
    del carrier
    await refuse_other_control(new, PROMOTION)
    with pytest.raises(CommandError, match="is not empty"):
        await refuse_other_control(new, "another")


async def test_the_last_step_lets_jobs_begin_however_often_it_is_done(new: AsyncEngine, tmp_path: Path) -> None:
    note = Note(PROMOTION, "chdb:///x", 1, (0,), Places("", "", "", ""), "now", "now")
    await mark(new, PROMOTION)
    assert work_folder(tmp_path).exists()
    for _ in range(2):
        await clear_up(tmp_path, new, note)
        assert await read_mark(new) is None
        assert not (tmp_path / "promote").exists()
    await mark(new, "another")
    await clear_up(tmp_path, new, note)
    assert await read_mark(new) == "another"


async def test_old_salts_are_destroyed_in_the_file(control: AsyncEngine, carrier: Carrier, tmp_path: Path) -> None:
    del carrier
    await destroy_salts(control)
    async with control.connect() as connection:
        assert (await connection.execute(select(salts))).all() == []
    await control.dispose()
    assert b"s" * 16 not in await asyncio.to_thread((tmp_path / "control.db").read_bytes)
