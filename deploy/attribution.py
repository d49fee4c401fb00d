"""Whose places they are: the words that must stand where places are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.enrich.geo_status import geo_status

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOOK_EVERY = 5_000  # milliseconds; the consumer looks for a new database as often


class AttributionReader:
    """Reads what the maker of the installed place database asks for, and remembers it for a few seconds."""

    def __init__(self, path: Path | None, clock: Callable[[], int]) -> None:
        """Look at a file or folder; None is switched off. `clock` gives epoch milliseconds."""
        self._path = path
        self._clock = clock
        self._looked = -LOOK_EVERY
        self._text = ""

    def read(self) -> str:
        """The words; empty without a database, and where its maker asks for none that we know."""
        now = self._clock()
        if not self._looked <= now < self._looked + LOOK_EVERY:  # also when the clock was set back
            self._looked = now
            self._text = geo_status(self._path).attribution.text
        return self._text
