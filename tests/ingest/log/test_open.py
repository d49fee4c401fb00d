"""URLs of logs, and files that are no log."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from ingest.log import LogDamagedError, LogUnavailableError
from ingest.log.open import open_log, parse_url
from ingest.log.sqlite_file import connect
from ingest.log.sqlite_room import Keeping
from tests.ingest.log.makers import Clock, SqliteMaker, make_headers

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("url", "path", "partitions"),
    [
        ("sqlite:////var/pulse/log.db", "/var/pulse/log.db", None),
        ("sqlite:////var/my data/100%/log#1.db", "/var/my data/100%/log#1.db", None),
        ("sqlite:////var/log.db?partitions=12", "/var/log.db", 12),
    ],
)
def test_a_url_names_a_file_and_its_partitions(url: str, path: str, partitions: int | None) -> None:
    found = parse_url(url)
    assert (str(found[0]), found[1]) == (path, partitions)


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("kafka://host:9092/topic", "known is sqlite:////"),
        ("sqlite:///relative.db", "four slashes"),
        ("sqlite://", "four slashes"),
        ("", "four slashes"),
        ("sqlite:////log.db?partition=4", "partition is not understood"),
        ("sqlite:////log.db?partitions=four", "partitions=four is not a number"),
        ("sqlite:////log.db?partitions=", "partitions= is not a number"),
        ("sqlite:////log.db?partitions=-1", "partitions=-1 is not a number"),
    ],
)
def test_a_url_that_is_not_understood_says_what_is(url: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        parse_url(url)


@pytest.mark.parametrize("option", ["partition=4", "partitions=four"])
def test_what_may_be_a_password_is_not_shown(option: str) -> None:
    with pytest.raises(ValueError, match=option.partition("=")[0]) as caught:
        parse_url(f"sqlite:////pulse:s3cret@h/log.db?{option}")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("partitions", [0, 65535])
async def test_a_number_of_partitions_has_limits(tmp_path: Path, partitions: int) -> None:
    with pytest.raises(ValueError, match="1 to 65534 partitions"):
        await open_log(f"sqlite:///{tmp_path}/log.db?partitions={partitions}", Keeping(), Clock())


@pytest.mark.parametrize("name", ["log.db", "a b/100%/what?no.db", "sub/folder#1/log.db"])
async def test_a_new_log_has_four_partitions_and_is_for_its_owner_alone(tmp_path: Path, name: str) -> None:
    path = tmp_path / name.replace("?", "%3f")
    log = await open_log(f"sqlite:///{path}", Keeping(), Clock())
    await log.append(3, make_headers(), b"a")
    assert log.partitions == 4
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
    await log.close()


async def test_the_number_of_partitions_is_fixed_for_life(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/log.db"
    await (await open_log(url + "?partitions=2", Keeping(), Clock())).close()
    with pytest.raises(ValueError, match="has 2 partitions for life, the URL asks for 4"):
        await open_log(url + "?partitions=4", Keeping(), Clock())
    log = await open_log(url, Keeping(), Clock())
    assert log.partitions == 2
    await log.close()


async def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LogUnavailableError, match="cannot be used now"):
        await open_log(f"sqlite:///{tmp_path}/file/log.db", Keeping(), Clock())


async def make_long_log(tmp_path: Path) -> Path:
    """A sound file of some hundred pages."""
    maker = SqliteMaker(tmp_path)
    log = await maker.open()
    for number in range(20):
        await log.append(number % 3, make_headers(), b"%d" % number * 20_000)
    await log.close()
    return maker.path


async def test_a_file_that_is_no_database_is_damage(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_bytes(b"no database at all\n" * 500)
    with pytest.raises(LogDamagedError, match="move the file"):
        await SqliteMaker(tmp_path).open()


async def test_a_foreign_database_is_damage(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "log.db")
    connection.execute("CREATE TABLE songs (name TEXT)")
    connection.close()
    with pytest.raises(LogDamagedError, match="not a log of this version"):
        await SqliteMaker(tmp_path).open()


async def test_a_file_cut_short_is_damage(tmp_path: Path) -> None:
    path = await make_long_log(tmp_path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 3)
    with pytest.raises(LogDamagedError, match="move the file"):
        await SqliteMaker(tmp_path).open()


async def test_damage_in_the_middle_is_told_where_it_is_met(tmp_path: Path) -> None:
    path = await make_long_log(tmp_path)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096 * 8)
        file.write(b"\xff" * (size - 4096 * 8))
    with pytest.raises((LogDamagedError, LogUnavailableError), match="damaged"):  # noqa: PT012 - met here or there
        log = await SqliteMaker(tmp_path).open()
        try:
            for partition in range(3):
                await log.read(partition, 0, 2**20)
        finally:
            await log.close()


async def test_the_file_itself_refuses_a_gap_and_a_position_that_is_taken(tmp_path: Path) -> None:
    path = await make_long_log(tmp_path)
    connection = sqlite3.connect(path, isolation_level=None)
    for wrong in (0, 6, 8, 1 << 47, 9 << 47):
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute("INSERT INTO records VALUES (?, 0, '', '')", (wrong,))
    connection.execute("INSERT INTO records VALUES (7, 0, '', '')")
    connection.close()


async def test_every_connection_syncs_each_commit_and_wipes_what_is_deleted(tmp_path: Path) -> None:
    connection = connect(await make_long_log(tmp_path))
    pragmas = {"synchronous": 2, "journal_mode": "wal", "secure_delete": 1, "auto_vacuum": 2}
    assert {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas} == pragmas
    connection.close()
