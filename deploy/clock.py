"""The one clock of the process."""

from __future__ import annotations

import time


def read_clock() -> int:
    """Epoch milliseconds now."""
    return time.time_ns() // 1_000_000
