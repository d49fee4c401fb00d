"""`pulse serve` that dies as by kill -9 at a place between two writes of the consumer.

`python -m tests.faults.serve_failing NAME TIMES`: dies when it comes to the failpoint NAME for the TIMESth time.
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import count

import uvloop

from deploy import roles
from deploy.observe import configure_logs
from deploy.terminal import read_settings


class Failpoint:
    """Ends the process at the `times`th call with that name."""

    def __init__(self, name: str, times: int) -> None:
        self._name = name
        self._times = times
        self._calls = count(1)

    def __call__(self, name: str) -> None:
        """Return, unless this is the place and the time."""
        if name == self._name and next(self._calls) == self._times:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    settings = read_settings()
    configure_logs(settings.log_level)
    uvloop.run(roles.serve(settings, Failpoint(sys.argv[1], int(sys.argv[2]))))
