"""What is wrong with the place where limits are counted."""

from __future__ import annotations

SETTING = "PULSE_LIMITS_URL"


class LimitsUnusableError(Exception):
    """The setting names a place that cannot be used: one line that says why and what to do, no password."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"{SETTING}: {problem}")
