"""The built script, and the hook that builds it."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

from ingest.tracker import read_script

ROOT = Path(__file__).parents[3]


def test_the_script_stays_under_its_size() -> None:
    assert len(gzip.compress(read_script(), mtime=0)) < 2_200


def test_the_lock_file_names_no_registry_and_every_package_by_its_bytes() -> None:
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    del packages[""]
    assert packages
    assert all("resolved" not in package for package in packages.values())
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())


def copy_tree(to: Path) -> Path:
    """What the hook reads, without what it made."""
    for name in ("hatch_build.py", "package.json", "package-lock.json", ".npmrc"):
        shutil.copy(ROOT / name, to / name)
    shutil.copytree(ROOT / "ingest/tracker/source", to / "ingest/tracker/source")
    return to


def run_hook(root: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Build with an empty PATH: no Node of the machine can help."""
    words = [sys.executable, "-I", str(root / "hatch_build.py")]
    environment = {"PATH": "/nonexistent", "HOME": str(root), **environment}
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - own words


def test_the_hook_builds_anew_what_changed_and_nothing_else(tmp_path: Path) -> None:
    root = copy_tree(tmp_path)
    # The installed packages are there already, so that no network is needed.
    (root / "node_modules").symlink_to(ROOT / "node_modules")
    assert run_hook(root).stdout.splitlines() == ["built ingest/tracker/dist", "built query_api/docs/dist"]
    assert (root / "ingest/tracker/dist/script.js").read_bytes() == read_script()
    assert run_hook(root).stdout == ""
    source = root / "ingest/tracker/source/script.js"
    source.write_text(source.read_text() + "\nwindow.more = 1;\n")
    assert run_hook(root).stdout.splitlines() == ["built ingest/tracker/dist"]
    assert b".more=1" in (root / "ingest/tracker/dist/script.js").read_bytes()


def test_a_wheel_holds_what_was_built(tmp_path: Path) -> None:
    root = copy_tree(tmp_path)
    (root / "node_modules").symlink_to(ROOT / "node_modules")
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, root / name)
    words = [sys.executable, "-I", "-m", "hatchling", "build", "-t", "wheel"]
    subprocess.run(words, cwd=root, env={"PATH": "/nonexistent"}, check=True, capture_output=True)  # noqa: S603 - own words
    [wheel] = (root / "dist").glob("*.whl")
    with ZipFile(wheel) as files:
        assert files.read("ingest/tracker/dist/script.js") == read_script()
        assert "query_api/docs/dist/swagger-ui-bundle.js" in files.namelist()
        assert not [name for name in files.namelist() if "node_modules" in name]


def test_the_hook_says_what_is_wrong_when_no_registry_answers(tmp_path: Path) -> None:
    done = run_hook(copy_tree(tmp_path), npm_config_registry="http://127.0.0.1:9/", npm_config_fetch_retries="0")
    assert done.returncode == 1
    assert "Is its package registry reachable?" in done.stderr
    assert "127.0.0.1:9" in done.stderr
