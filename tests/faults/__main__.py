"""The command of `scripts/kill`."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.faults import kill_run
from tests.faults.full_disk import run_full_disk
from tests.faults.kill_run import KillRunError, run_rounds
from tests.product import ProductError


def read_options() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(prog="scripts/kill", description=kill_run.__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="how often to kill; one in four at a failpoint (100)")
    parser.add_argument(
        "--full-disk", type=int, default=0, metavar="N", help="fill a small disk N times instead (root)"
    )
    parser.add_argument(
        "--seed", type=int, default=int(time.time()), help="the same moments again, as far as time goes"
    )
    parser.add_argument(
        "--folder", type=Path, help="data folder; default a new one, which stays when something is wrong"
    )
    return parser.parse_args()


def tell(line: str) -> None:
    """Say it at once, also into a pipe."""
    print(line, flush=True)  # noqa: T201 (a report)


def main() -> int:
    """Exit 0 when all acknowledged is there and nothing twice."""
    options = read_options()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="pulse-kill-"))
    tell(f"seed {options.seed}, data in {folder}")
    run = run_full_disk if options.full_disk else run_rounds
    try:
        run(folder, options.full_disk or options.rounds, options.seed, tell)
    except (KillRunError, ProductError, PermissionError) as error:
        sys.stderr.write(f"kill: {error}\n")
        return 1
    if not options.folder:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
