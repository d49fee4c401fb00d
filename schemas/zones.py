"""The one time-zone database: the pinned `tzdata` package, never the machine's own, so every machine finds one day.

`zoneinfo.ZoneInfo(name)` would prefer the files of the operating system, whose age nobody knows.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from zoneinfo import ZoneInfo


class UnknownZoneError(ValueError):
    """No zone of the database has this name."""


@lru_cache(maxsize=1)
def zone_names() -> frozenset[str]:
    """Every name that `open_zone` knows, old aliases too."""
    return frozenset(resources.files("tzdata").joinpath("zones").read_text("utf-8").split())


@lru_cache(maxsize=1024)
def open_zone(name: str) -> ZoneInfo:
    """Give the zone, the same object every time; raise UnknownZoneError."""
    if name not in zone_names():
        raise UnknownZoneError(name)
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)
