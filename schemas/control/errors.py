"""What is wrong with the control plane that was named."""

from __future__ import annotations

SETTING = "PULSE_CONTROL_URL"


class ControlUnusableError(Exception):
    """The setting names a control plane that cannot be used: one line that says why and what to do, no password."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"{SETTING}: {problem}")
