"""Fills the disk under a server that is being sent to; it must say 503, lose nothing and go on when there is space."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from tests.faults.kill_run import SETTINGS, KillRun, KillRunError
from tests.faults.small_disk import fill_disk, small_disk
from tests.product import Product

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DISK = 384 * 2**20
REFUSED_SECONDS = 120.0
OWN_SETTINGS = {**SETTINGS, "WAREHOUSE_BUDGET": str(2**30)}  # else it keeps 1 GiB free


def run_full_disk(folder: Path, rounds: int, seed: int, tell: Callable[[str], object]) -> None:
    """Fill and free a disk mounted at the folder, every second time with a kill in between; end as `run_rounds`."""
    folder.mkdir(parents=True, exist_ok=True)
    with small_disk(folder, DISK), Product(folder, OWN_SETTINGS) as product:
        run = KillRun(product, random.Random(seed))  # noqa: S311 - moments, not secrets
        run.prepare()
        for number in range(rounds):
            fill_and_free(run, number)
            tell(f"full disk {number + 1} of {rounds}: {run.describe()}, {run.book.refused} requests told 503")
        run.compare("/")


def fill_and_free(run: KillRun, number: int) -> None:
    """Send, fill the disk, wait until requests are refused, free it (every second time after a kill), compare."""
    senders = run.start_senders(number)
    time.sleep(run.random.uniform(0.1, 0.5))
    ballast = fill_disk(run.product.folder)
    wait_for_more(run, lambda: run.book.refused, "nobody was refused")
    if number % 2:
        run.kill(senders)
        ballast.unlink()
        run.product.start()
    else:
        ballast.unlink()
        wait_for_more(run, lambda: len(run.book.acknowledged), "nobody was heard again")
        for sender in senders:
            sender.stop.set()
            sender.join()
    run.wait_until_landed()
    run.compare(f"/r{number}/")


def wait_for_more(run: KillRun, count: Callable[[], int], problem: str) -> None:
    """Return once the count has grown by some; raise KillRunError when it does not."""
    enough = count() + 20
    end = time.monotonic() + REFUSED_SECONDS
    while count() < enough:
        if time.monotonic() > end:
            message = f"{problem} within {REFUSED_SECONDS} s: {run.book.refused} refused, {run.book.strange[:3]}"
            raise KillRunError(message)
        time.sleep(0.01)
