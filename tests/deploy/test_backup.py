"""A backup of a running installation becomes the same installation again, or it is refused."""

from __future__ import annotations

import json
import shutil
import sqlite3
from typing import TYPE_CHECKING

import pytest

from tests.deploy.moving import Traffic, count_events, make_key, make_site, read_reports, send_old
from tests.product import Product

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OLD_EVENTS = 500


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A server with a site of some months and another that is visited now."""
    with Product(tmp_path_factory.mktemp("original")) as product:
        yield product


@pytest.fixture(scope="module")
def key(product: Product) -> str:
    """A key that may all."""
    return make_key(product, "read", "ingest")


@pytest.fixture(scope="module")
def site_key(product: Product, key: str) -> str:
    """The key of the visited site; the other has its events."""
    send_old(product, key, make_site(product, "old.example"), OLD_EVENTS)
    return make_site(product, "new.example")


@pytest.fixture(scope="module")
def folder(product: Product, key: str, site_key: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup as a folder, of when no events came."""
    target = tmp_path_factory.mktemp("backups") / "folder"
    with Traffic(product, key, site_key) as traffic:
        traffic.wait_for_more(20)
    count_events(product, key)
    product.run("backup", str(target))
    return target


def restore(backup: Path, where: Path) -> Product:
    """A product that is not started yet."""
    product = Product(where)
    product.run("restore", str(backup))
    return product


def test_a_backup_under_traffic_is_a_state_of_one_moment(
    product: Product, key: str, site_key: str, tmp_path: Path
) -> None:
    target = tmp_path / "now.tar.zst"
    base = count_events(product, key)
    with Traffic(product, key, site_key) as traffic:
        traffic.wait_for_more(30)
        before = len(traffic.acknowledged)
        about = product.run_json("backup", str(target))
        after = len(traffic.acknowledged)
        traffic.wait_for_more(30)
        assert traffic.failed == 0
    assert about["log"] is True
    assert target.stat().st_mode & 0o777 == 0o600
    with restore(target, tmp_path / "restored") as restored:
        found = count_events(restored, key)
        assert base + before <= found <= base + after + 1
        assert read_reports(restored, key, "old.example") == read_reports(product, key, "old.example")
        with Traffic(restored, key, site_key) as more:
            more.wait_for_more(10)
        assert count_events(restored, key) == found + len(more.acknowledged)


def test_a_restored_installation_answers_as_the_original(
    product: Product, key: str, folder: Path, tmp_path: Path
) -> None:
    result = Product(tmp_path / "restored")
    told = result.run_json("restore", str(folder))
    assert told["events"] == json.loads((folder / "about.json").read_bytes())["events"]
    with result:
        assert read_reports(result, key, "old.example") == read_reports(product, key, "old.example")
    for name in ("log.db", "control.db"):
        assert read_identities(result.folder / "data" / name) != read_identities(product.folder / "data" / name)
    assert sorted(path.name for path in (result.folder / "data").glob(".*")) == []


def test_no_backup_holds_a_salt(product: Product, folder: Path) -> None:
    with sqlite3.connect(product.folder / "data" / "control.db") as connection:
        salts = [row[0] for row in connection.execute("SELECT salt FROM salts")]
    assert salts
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert not any(salt in file for file in files for salt in salts)
    assert {path.stat().st_mode & 0o77 for path in folder.rglob("*") if path.is_file()} == {0}


def test_without_the_log_no_address_is_in_it(product: Product, key: str, tmp_path: Path) -> None:
    target = tmp_path / "no-log.tar"
    assert product.run_json("backup", str(target), "--no-log")["log"] is False
    assert b"192.0.2." not in target.read_bytes()
    with restore(target, tmp_path / "restored") as restored:
        assert count_events(restored, key) == count_events(product, key)


def test_a_damaged_backup_is_refused_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(folder, damaged, symlinks=True)
    part = max(damaged.rglob("data.bin"), key=lambda path: path.stat().st_size)
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    product = Product(tmp_path / "restored")
    done = product.run("restore", str(damaged), check=False)
    assert done.returncode == 1
    assert "damaged" in done.stderr
    assert part.name in done.stderr
    assert [path.name for path in (product.folder / "data").iterdir()] == ["serve.lock"]
    product.run("restore", str(folder))  # the folder may be used


def test_a_ledger_that_differs_is_named(folder: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(folder, changed, symlinks=True)
    manifest = json.loads((changed / "manifest.json").read_bytes())
    cell = next(cell for cell in manifest["cells"] if cell[2] == "stored")
    cell[-1] += 1
    (changed / "manifest.json").write_text(json.dumps(manifest))
    done = Product(tmp_path / "restored").run("restore", str(changed), check=False)
    assert done.returncode == 1
    assert f"stored: backup {cell[-1]}, restored {cell[-1] - 1}" in done.stderr


@pytest.mark.parametrize(("field", "value"), [("format", 2), ("migrations", ["001_events.sql", "999_newer.sql"])])
def test_a_backup_of_a_newer_version_is_refused(folder: Path, tmp_path: Path, field: str, value: object) -> None:
    newer = tmp_path / "newer"
    newer.mkdir()
    about = json.loads((folder / "about.json").read_bytes())
    (newer / "about.json").write_text(json.dumps(about | {field: value}))
    done = Product(tmp_path / "restored").run("restore", str(newer), check=False)
    assert done.returncode == 1
    assert "newer Pulse" in done.stderr


def test_a_used_folder_and_a_used_name_are_refused(product: Product, folder: Path) -> None:
    done = product.run("restore", str(folder), check=False)
    assert done.returncode == 1
    assert "is not empty" in done.stderr
    done = product.run("backup", str(folder), check=False)
    assert done.returncode == 1
    assert "is there already" in done.stderr


def read_identities(path: Path) -> list[str]:
    table = "log" if path.name == "log.db" else "logs"
    with sqlite3.connect(path) as connection:
        return [row[0] for row in connection.execute(f"SELECT identity FROM {table}")]  # noqa: S608 - a name of ours
