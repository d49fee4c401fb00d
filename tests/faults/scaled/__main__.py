"""The command of `scripts/faults`."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.cluster.cluster import ClusterError
from tests.faults.scaled import run
from tests.faults.scaled.run import FaultRun, FaultRunError, Wish
from tests.servers.process import ServerDidNotStartError

RESULTS = Path("data/faults.jsonl")


def read_options() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(prog="scripts/faults", description=run.__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the same faults at the same moments again")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--faults", type=int, default=0, help="so many (100)")
    length.add_argument("--minutes", type=float, default=0.0, help="for so long, to the end of a round")
    length.add_argument("--short", action="store_true", help="one round of eight faults")
    parser.add_argument("--pace", type=float, default=4.0, help="seconds between two faults on average (4)")
    parser.add_argument("--rate", type=float, default=150.0, help="events a second (150)")
    parser.add_argument("--break", choices=["fence"], dest="broken", help="break it on purpose: must end with 1")
    parser.add_argument("--folder", type=Path, help="where all lies; a new one, which stays when something is wrong")
    parser.add_argument("--results", type=Path, default=RESULTS, help=f"where figures are added ({RESULTS})")
    return parser.parse_args()


def tell(line: str) -> None:
    """Say it at once, also into a pipe."""
    print(line, flush=True)  # noqa: T201 - a report


def write_figures(options: argparse.Namespace, figures: run.Figures, problem: str) -> None:
    """Add a line to the results."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)  # noqa: S607
    row: dict[str, object] = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit.stdout.strip()}
    row |= {"broken": options.broken or "", "problem": problem, **figures.to_row()}
    options.results.parent.mkdir(parents=True, exist_ok=True)
    with options.results.open("a") as file:
        file.write(json.dumps(row) + "\n")


def main() -> int:
    """Exit 0 when all acknowledged is there and nothing twice."""
    options = read_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # the processes end with the block below
    folder = options.folder or Path(tempfile.mkdtemp(prefix="pulse-faults-"))
    faults = options.faults or (0 if options.minutes or options.short else 100)
    wish = Wish(options.seed, faults, options.minutes * 60, pace=options.pace, rate=options.rate)
    wish = wish if options.broken is None else wish.without_fence()
    tell(f"seed {wish.seed}; everything in {folder}")
    problem = ""
    try:
        with FaultRun(folder, wish, tell) as fault_run:
            try:
                fault_run.run()
            except FaultRunError as error:
                problem = str(error)
            write_figures(options, fault_run.figures, problem)
            figures = fault_run.figures
    except (ClusterError, ServerDidNotStartError) as error:
        sys.stderr.write(f"faults: {error}\n")
        return 1
    tell(
        f"seed {figures.seed}: {figures.faults} faults, {figures.zombies} of them zombies ({figures.missed} missed); "
        f"{figures.fenced} inserts fenced, {figures.unknown} of unknown outcome; {figures.acknowledged} events "
        f"acknowledged, {figures.requests_again} requests sent again; {figures.lost} lost, {figures.doubled} doubled; "
        f"{figures.seconds:.0f} s"
    )
    if problem:
        sys.stderr.write(
            f"faults: {problem}\nEverything is kept in {folder}. Once more: {to_command(options, figures)}\n"
        )
        return 1
    if not options.folder:
        shutil.rmtree(folder)
    return 0


def to_command(options: argparse.Namespace, figures: run.Figures) -> str:
    """How to run the same faults again."""
    length = "--short" if options.short else f"--faults {figures.drawn}"
    broken = f" --break {options.broken}" if options.broken else ""
    return f"scripts/faults --seed {figures.seed} {length} --pace {options.pace} --rate {options.rate}{broken}"


if __name__ == "__main__":
    sys.exit(main())
