"""The image: what it copies is there, what it runs exists, and it is not root."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

from dockerfile_parse import DockerfileParser

from tests.deploy.files.facts import PATHS, find_commands, find_paths
from tests.deploy.files.reading import DEPLOY, ROOT, SETTINGS, find_settings

DOCKERFILE = DEPLOY / "docker/Dockerfile"
PARSED = [
    (step["instruction"], step["value"])
    for step in DockerfileParser(str(DOCKERFILE), cache_content=True).structure
    if step["instruction"] != "COMMENT"
]
LAST_FROM = max(place for place, (instruction, _) in enumerate(PARSED) if instruction == "FROM")
IMAGE = PARSED[LAST_FROM:]


def value(instruction: str) -> str:
    """The one value of an instruction in the image's own stage."""
    (found,) = (given for name, given in IMAGE if name == instruction)
    return found


def test_hadolint_has_nothing_to_say() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, DOCKERFILE], capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_copied_is_there_and_reaches_the_builder() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source
        for instruction, given in PARSED
        if instruction == "COPY" and "--from" not in given
        for source in shlex.split(given)[:-1]
    }
    assert all((ROOT / source).exists() for source in copied)
    assert copied == let_in


def test_both_stages_stand_on_the_same_tagged_base() -> None:
    bases = {given.split()[0] for instruction, given in PARSED if instruction == "FROM"}
    (base,) = bases
    assert ":" in base
    assert not base.endswith(":latest")


def test_it_is_not_root_and_stops_by_the_signal_that_is_handled() -> None:
    assert value("USER") == "10001:10001"
    assert value("STOPSIGNAL") == "SIGTERM"
    assert value("VOLUME") == value("WORKDIR") == "/data"


def test_it_runs_the_command_of_the_distribution() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    (entry,) = json.loads(value("ENTRYPOINT"))
    assert entry in scripts
    assert json.loads(value("CMD"))[0] in find_commands()


def test_what_only_builds_does_not_stay() -> None:
    group = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["build"]
    (words,) = (given for _, given in PARSED if "pip uninstall" in given)
    removed = words.split("pip uninstall --yes")[1].split("&&")[0].split()
    assert {name.split(">=")[0] for name in group} | {"${WITHOUT}", "pip"} == set(removed)


def test_its_health_check_asks_where_it_listens() -> None:
    check, listen = value("HEALTHCHECK"), next(given for name, given in IMAGE if name == "ENV")
    port = value("EXPOSE")
    assert f"PULSE_LISTEN=0.0.0.0:{port}" in listen
    assert f"'127.0.0.1', {port}" in check
    assert find_paths(check) == {"/healthz"} <= PATHS
    program = json.loads(check[check.index("[") :])[-1]
    compile(program, "HEALTHCHECK", "exec")


def test_its_settings_exist() -> None:
    assert find_settings(DOCKERFILE.read_text()) <= SETTINGS
