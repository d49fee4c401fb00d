"""Where a promotion goes: what binds it, what may change, and what an operator is told."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from deploy.promote import promote
from deploy.promote_goal import Goal, find_work
from deploy.promote_note import Note, read_work, work_folder, write_work
from deploy.settings import Settings
from deploy.terminal import CommandError
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


async def test_a_server_that_cannot_be_reached_binds_nothing(tmp_path: Path) -> None:
    goal = replace(GOAL, control="postgresql://u:secret@127.0.0.1:1/pulse")
    with pytest.raises(Exception, match="cannot be reached"):
        await promote(Settings(data=tmp_path), goal, Show())
    assert read_work(tmp_path) is None
    assert list(work_folder(tmp_path).iterdir()) == []
