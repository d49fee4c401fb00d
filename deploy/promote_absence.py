"""When the old server counts as stopped for good: nobody has served, and nobody has appended, for long enough.

One that crashed is started again by whoever looks after it, and goes on collecting. Processes of the role `collector`
alone are seen by what they append, and by nothing else.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploy.asking import is_served
from deploy.clock import read_clock
from ingest.log import DEAD
from ingest.log.open import parse_url
from ingest.log.sqlite_file import connect, read_states, to_id

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from deploy.settings import Settings

QUIET_SECONDS = 3.0  # without an append, at least
APPENDED = "SELECT appended FROM records WHERE id = ?"


@dataclass(slots=True)
class Absence:
    """Since when nobody serves and since when nobody appends, in seconds of one clock; `ends` are those of the log."""

    grace: float
    away: float
    quiet: float
    ends: Sequence[int]

    def look(self, now: float, ends: Sequence[int], *, is_served: bool) -> bool:
        """Take in what is seen now; say whether somebody was there."""
        has_appended = ends != self.ends
        if is_served:
            self.away = now
        if has_appended:
            self.quiet, self.ends = now, ends
        return is_served or has_appended

    def is_final(self, now: float) -> bool:
        """Whether it has been long enough."""
        return now - self.away >= self.grace and now - self.quiet >= max(self.grace, QUIET_SECONDS)


async def find_grace(settings: Settings, grace: float) -> float:
    """For how long the old server must be away: not at all where none serves and nobody has appended for as long."""
    if await is_served(settings.data):
        return grace
    silence = await asyncio.to_thread(read_silence, parse_url(settings.log)[0], read_clock())
    return 0.0 if silence >= grace else grace


def read_silence(path: Path, now: int) -> float:
    """For how many seconds before `now` (epoch ms) nothing was appended; 0 where the log holds nothing any more."""
    if not path.exists():
        return math.inf
    with closing(connect(path)) as connection:
        states = {partition: state for partition, state in read_states(connection).items() if partition != DEAD}
        lasts = [to_id(partition, state.end - 1) for partition, state in states.items() if state.end > state.start]
        appended = [connection.execute(APPENDED, (last,)).fetchone()[0] for last in lasts]
    if not any(state.end for state in states.values()):
        return math.inf
    return (now - max(appended)) / 1000 if appended else 0.0
