"""The short form of `scripts/faults`: real servers and several processes, hurt while clients send."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from tests.faults.scaled.run import FaultRun, Wish
from tests.faults.scaled.schedule import KINDS, SHORT, draw_faults, draw_short

if TYPE_CHECKING:
    from pathlib import Path

SEED = 1


def test_a_seed_draws_the_same_faults_again_however_many_are_asked_for() -> None:
    first = list(islice(draw_faults(SEED, 4.0, with_disks=True), 200))
    assert list(islice(draw_faults(SEED, 4.0, with_disks=True), 100)) == first[:100]
    assert {fault.kind for fault in first} == set(KINDS)
    assert sorted(fault.kind for fault in draw_short(SEED, 4.0)) == sorted(SHORT)


def test_what_is_acknowledged_counts_once_whatever_process_dies_or_wakes_too_late(tmp_path: Path) -> None:
    told: list[str] = []
    with FaultRun(tmp_path, Wish(SEED), told.append) as run:
        run.run()  # raises for whatever is lost, doubled or unaccounted for
    figures = run.figures
    assert figures.faults >= len(SHORT) / 2, told
    assert figures.zombies, told
    assert figures.acknowledged
    assert (figures.lost, figures.doubled) == (0, 0)
