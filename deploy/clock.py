"""The one clock of the process."""

from __future__ import annotations

import signal
import time


class Clock:
    """Epoch milliseconds now; `wrong_by` milliseconds ahead, which is 0 but in tests of faults."""

    wrong_by = 0

    def __call__(self) -> int:
        """The time."""
        return time.time_ns() // 1_000_000 + self.wrong_by


read_clock = Clock()


def jump_on_signal(seconds: int) -> None:
    """From now on the clock jumps ahead at one SIGUSR2, and back at the next, as a bad time server makes it."""

    def jump(*_: object) -> None:
        read_clock.wrong_by = seconds * 1000 - read_clock.wrong_by

    signal.signal(signal.SIGUSR2, jump)
