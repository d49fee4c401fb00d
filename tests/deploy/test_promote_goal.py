"""Where a promotion goes: what binds it, what may change, and what an operator is told."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from deploy.promote import promote
from deploy.promote_goal import Goal, find_work
from deploy.promote_note import Note, read_work, work_folder, write_work
from deploy.settings import Settings
from deploy.terminal import CommandError, SettingError
from tests.deploy.test_promote_copy import Show

if TYPE_CHECKING:
    from pathlib import Path

GOAL = Goal("clickhouse://u:secret@ch/pulse", "postgresql://u:secret@pg/pulse", "", "", mend=False, grace=60.0)
NOTE = Note("an id", "chdb:///x", 1, (0,), GOAL.places, "2026-11-21T00:00:00+00:00")


def test_limits_are_only_told_and_may_be_named_later(tmp_path: Path) -> None:
    work = find_work(tmp_path, GOAL, None)
    write_work(tmp_path, work)
    assert find_work(tmp_path, replace(GOAL, limits="redis://r:6379"), None) == work


def test_other_places_are_named_without_passwords(tmp_path: Path) -> None:
    write_work(tmp_path, find_work(tmp_path, GOAL, None))
    other = replace(GOAL, control="postgresql://u:secret@other/pulse", log="kafka://k:9092/pulse")
    with pytest.raises(CommandError) as told:
        find_work(tmp_path, other, None)
    text = str(told.value)
    assert "--control was postgresql://***@pg/pulse, is postgresql://***@other/pulse" in text
    assert "--log was left out, is kafka://k:9092/pulse" in text
    assert "--warehouse" not in text
    assert "secret" not in text
    assert f"or remove {tmp_path / 'promote'} to begin anew" in text


def test_after_the_hand_over_nobody_is_told_to_remove_what_is_needed(tmp_path: Path) -> None:
    write_work(tmp_path, find_work(tmp_path, GOAL, None))
    with pytest.raises(CommandError) as told:
        find_work(tmp_path, replace(GOAL, warehouse="clickhouse://other/pulse"), NOTE)
    assert "remove" not in str(told.value)
    assert "it can only be finished" in str(told.value)


def test_the_note_says_which_promotion_it_is_where_the_folder_is_gone(tmp_path: Path) -> None:
    assert find_work(tmp_path, GOAL, NOTE).id == NOTE.id


@pytest.mark.parametrize(
    ("option", "place", "words"),
    [
        ("control", "postgresql://u:secret@127.0.0.1:1/pulse", "PostgreSQL at 127.0.0.1:1 cannot be reached"),
        ("control", "postgresql://127.0.0.1", "it names no user"),
        ("warehouse", "clickhouse://u:secret@127.0.0.1:1/pulse", ""),
    ],
)
async def test_a_server_that_cannot_be_had_is_named_by_its_option_and_binds_nothing(
    tmp_path: Path, option: str, place: str, words: str
) -> None:
    within_reach = replace(GOAL, control=f"sqlite:///{tmp_path}/new.db")
    goal = replace(within_reach, **{option: place})  # type: ignore[arg-type]
    with pytest.raises(SettingError) as told:
        await promote(Settings(data=tmp_path), goal, Show())
    assert str(told.value).startswith(f"--{option}: {words}")
    assert "PULSE_" not in str(told.value)
    assert "secret" not in str(told.value)
    assert read_work(tmp_path) is None
    assert list(work_folder(tmp_path).iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "goal", "words"),
    [
        ({"warehouse_url": "clickhouse://ch/pulse"}, GOAL, "PULSE_WAREHOUSE_URL: a promotion leads from the embedded"),
        ({"control_url": "postgresql:///"}, GOAL, "PULSE_CONTROL_URL: it names no host"),
        ({}, replace(GOAL, warehouse="chdb:///x"), "--warehouse: name a server"),
        ({}, replace(GOAL, control=""), "--control: name another control plane"),
        ({}, replace(GOAL, log="sqlite:///x"), "--log: name a topic"),
    ],
)
async def test_a_goal_that_cannot_be_one_is_wrong_usage(
    tmp_path: Path, settings: dict[str, str], goal: Goal, words: str
) -> None:
    with pytest.raises(SettingError, match=f"^{words}"):
        await promote(Settings(data=tmp_path, **settings), goal, Show())  # type: ignore[arg-type]
