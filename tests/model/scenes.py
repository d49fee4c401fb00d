"""Scenes: zones and dates at which local time does something, and the instants around which events are put."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from hypothesis import strategies as st

from tests.model.local import MINUTE, first_instant, to_local

SECOND = 1000
HOUR = 60 * MINUTE


@dataclass(frozen=True, slots=True)
class Scene:
    """A zone and a date on which something happens to its clocks, or nothing."""

    timezone: str
    day: date


SCENES = (
    Scene("UTC", date(2026, 3, 10)),
    Scene("Europe/Berlin", date(2026, 3, 29)),  # 02:00 is cut
    Scene("Europe/Berlin", date(2026, 10, 25)),  # 02:00 comes twice
    Scene("America/New_York", date(2026, 11, 1)),
    Scene("America/Havana", date(2026, 3, 8)),  # the day begins at 01:00
    Scene("America/Havana", date(2025, 11, 2)),  # 00:00 comes twice
    Scene("Asia/Kathmandu", date(2026, 2, 28)),  # +05:45
    Scene("Australia/Lord_Howe", date(2026, 4, 5)),  # half an hour comes twice
    Scene("Australia/Lord_Howe", date(2026, 10, 4)),  # half an hour is cut
    Scene("Pacific/Kiritimati", date(2026, 1, 1)),  # +14:00
    Scene("America/St_Johns", date(2024, 2, 29)),
    Scene("Pacific/Marquesas", date(2025, 12, 31)),  # -09:30
    Scene("America/Havana", date(2026, 11, 1)),  # kept summer time, which databases of before do not know
)
ZONES = tuple(dict.fromkeys(scene.timezone for scene in SCENES))

# The next event after the last: at once, within a visit, around the longest gap of a visit, much later.
GAPS = (
    0,
    1,
    400,
    SECOND,
    90 * SECOND,
    29 * MINUTE + 59_999,
    30 * MINUTE,
    30 * MINUTE + 1,
    HOUR,
    7 * HOUR,
    24 * HOUR,
)
gaps = st.sampled_from(GAPS)


def anchors(scene: Scene, days: int = 2) -> list[int]:
    """Instants of interest: the beginnings of local days, every change of offset, and a plain morning."""
    beginnings = [first_instant(scene.day + timedelta(days=day), scene.timezone) for day in range(-1, days)]
    quarters = range(beginnings[0], beginnings[-1], 15 * MINUTE)
    changes = [
        instant
        for instant in quarters
        if to_local(instant, scene.timezone).utcoffset() != to_local(instant - 1, scene.timezone).utcoffset()
    ]
    return [*beginnings, *changes, beginnings[1] + 9 * HOUR]


def moments(scene: Scene) -> st.SearchStrategy[int]:
    """An instant at or near one of interest, to the millisecond."""
    steps = (
        0,
        -1,
        1,
        -SECOND,
        5 * MINUTE,
        -5 * MINUTE,
        30 * MINUTE,
        -30 * MINUTE,
        -30 * MINUTE - 1,
        HOUR,
        -HOUR,
        12345,
    )
    return st.builds(lambda anchor, step: anchor + step, st.sampled_from(anchors(scene)), st.sampled_from(steps))
