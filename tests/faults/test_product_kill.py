"""The short form of `scripts/kill`: everything acknowledged is there and nothing twice, whatever ends the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults.full_disk import run_full_disk
from tests.faults.kill_run import run_rounds
from tests.faults.small_disk import may_mount

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = 5


def test_what_is_acknowledged_survives_kill_9_and_counts_once(tmp_path: Path) -> None:
    told: list[str] = []
    run_rounds(tmp_path, ROUNDS, 3, told.append)
    assert len(told) == ROUNDS + 1


if may_mount():  # elsewhere a full disk is shown on the log alone, by a limit on file size

    def test_what_is_acknowledged_survives_a_full_disk_and_counts_once(tmp_path: Path) -> None:
        told: list[str] = []
        run_full_disk(tmp_path, 2, 3, told.append)
        assert len(told) == 2
