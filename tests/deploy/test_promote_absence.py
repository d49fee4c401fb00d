"""When an old server counts as stopped for good: a server, a collector alone, a new server on the same folder."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from deploy import promote_absence
from deploy.admin import answering_commands
from deploy.admin_move import tell_standing
from deploy.promote_absence import QUIET_SECONDS, Absence, find_grace, read_silence
from deploy.promote_follow import Follower
from deploy.promote_note import Note, Places, write_note
from deploy.settings import Settings
from ingest.log import DEAD
from ingest.log.open import open_log
from ingest.log.sqlite_room import Keeping
from schemas.event import BlockHeaders
from tests.deploy.test_promote_copy import Show

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from deploy.parts import Parts
    from deploy.promote_control import Carrier
    from deploy.promote_goal import Sides
    from ingest.log.sqlite import SqliteLog

NOW = 1_795_262_400_000
GRACE = 60.0
NOTE = Note("an id", "chdb:///old", 1, (0,), Places("", "", "", ""), "now")


def test_a_collector_that_appends_now_and_then_is_there() -> None:
    absence = Absence(GRACE, 0.0, 0.0, [0])
    for second in range(0, 600, 3):
        assert absence.look(float(second), [second + 1], is_served=False)
        assert not absence.is_final(second + 2.9)
    last = 597.0
    assert not absence.look(last + 1, [598], is_served=False)
    assert not absence.is_final(last + GRACE - 0.1)
    assert absence.is_final(last + GRACE)


def test_a_server_that_is_started_again_is_there() -> None:
    absence = Absence(GRACE, 0.0, 0.0, [0])
    assert absence.look(30.0, [0], is_served=True)
    assert not absence.is_final(GRACE + 29.9)
    assert absence.is_final(GRACE + 30.0)


def test_nothing_may_be_appended_for_some_seconds_at_least() -> None:
    absence = Absence(0.0, 0.0, 0.0, [0])
    assert not absence.is_final(QUIET_SECONDS - 0.1)
    assert absence.is_final(QUIET_SECONDS)


async def test_where_no_server_listens_the_grace_is_kept_unless_nobody_has_appended_for_as_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data=tmp_path)
    path = tmp_path / "log.db"
    assert await find_grace(settings, GRACE) == 0.0  # there is no log
    log = await open_log(settings.log, Keeping(keep_ms=0), lambda: NOW)
    assert read_silence(path, NOW) == math.inf
    await log.append(2, BlockHeaders(1, NOW, NOW, ()), b"{}\n")
    await log.close()
    for seconds, grace in ((GRACE - 1, GRACE), (GRACE, 0.0)):
        later = NOW + int(seconds * 1000)
        monkeypatch.setattr(promote_absence, "read_clock", lambda later=later: later)
        assert read_silence(path, later) == seconds
        assert await find_grace(settings, GRACE) == grace


async def test_a_log_that_has_let_go_of_everything_does_not_tell(tmp_path: Path) -> None:
    log = await open_log(f"sqlite:///{tmp_path}/log.db", Keeping(keep_ms=0), lambda: NOW)
    await log.append(0, BlockHeaders(1, NOW, NOW, ()), b"{}\n")
    await log.append(DEAD, BlockHeaders(1, NOW, NOW, ()), b"{}\n")
    await log.trim(0, 1)
    await cast("SqliteLog", log).drop_older(NOW + 1)
    await log.close()
    assert read_silence(tmp_path / "log.db", NOW + 3_600_000) == 0.0


def to_parts(folder: Path, warehouse: str) -> Parts:
    """A server on the folder, as far as it is asked here."""
    settings = SimpleNamespace(data=folder, warehouse=warehouse)
    return cast("Parts", SimpleNamespace(base=SimpleNamespace(settings=settings)))


async def test_a_new_server_on_the_folder_means_that_the_old_one_is_gone(tmp_path: Path) -> None:
    carried: list[str] = []

    async def carry() -> int:
        carried.append("")
        return 0

    write_note(tmp_path, NOTE)
    assert await tell_standing(to_parts(tmp_path, NOTE.warehouse), {}) == {"stands_still": True}
    sides = SimpleNamespace(settings=Settings(data=tmp_path), warehouse=None, new=None)
    carrier = SimpleNamespace(problem="", carry=carry)
    async with answering_commands(to_parts(tmp_path, "clickhouse://new/pulse")):
        await Follower(cast("Sides", sides), cast("Carrier", carrier), math.inf).wait(Show())
    assert carried
