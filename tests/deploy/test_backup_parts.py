"""What is said of a backup, or of settings, that cannot be used: one line, before anything is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deploy.backup import back_up
from deploy.backup_restore import refuse_foreign, restore
from deploy.settings import Settings
from deploy.terminal import CommandError, SettingError

if TYPE_CHECKING:
    from pathlib import Path

ABOUT = b'{"format":1,"pulse":"1","made":"now","migrations":[],"bytes":1,"log":true}'


def to_servers(data: Path) -> Settings:
    """Settings of an installation on servers, but for its log."""
    return Settings(data=data, warehouse_url="clickhouse://ch/pulse", control_url="postgresql://u@pg/pulse")


def tell(_done: int, _total: int) -> None:
    """Nobody looks."""


def make_backup(folder: Path, about: bytes) -> Path:
    """A folder that says this of itself, and nothing else."""
    (folder / "backup").mkdir()
    (folder / "backup" / "about.json").write_bytes(about)
    return folder / "backup"


@pytest.mark.parametrize(
    "about", [b"{}", b"[]", b"no JSON", ABOUT.replace(b'"migrations":[]', b'"migrations":7')], ids=repr
)
def test_a_folder_that_does_not_say_what_it_holds_is_no_backup(tmp_path: Path, about: bytes) -> None:
    with pytest.raises(CommandError, match=r"is no backup of Pulse: its about\.json does not say"):
        refuse_foreign(make_backup(tmp_path, about))


async def test_a_backup_of_servers_is_refused_by_the_names_of_the_settings(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"^PULSE_WAREHOUSE_URL, PULSE_CONTROL_URL: a backup is of"):
        await back_up(to_servers(tmp_path), tmp_path / "new", tell, with_log=True)


async def test_a_backup_is_restored_into_the_data_folder_alone(tmp_path: Path) -> None:
    backup = make_backup(tmp_path, ABOUT)
    with pytest.raises(SettingError, match="PULSE_CONTROL_URL: a backup is restored into the data folder: leave"):
        await restore(to_servers(tmp_path / "data"), backup, tell)
    elsewhere = Settings(data=tmp_path / "data", control_url=f"sqlite:///{tmp_path}/x")
    with pytest.raises(SettingError, match=r"^a backup is restored into the data folder"):
        await restore(elsewhere, backup, tell)
