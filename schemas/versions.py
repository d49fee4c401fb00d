"""The version of each site's stored events, by which answers are cached: it grows whenever rows land or are deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from schemas.event import SiteId


class SiteVersions:
    """A counter per site, for the life of one process; equal versions mean equal rows, never the other way round."""

    def __init__(self) -> None:
        self._versions: dict[SiteId, int] = {}
        self._listeners: list[Callable[[], None]] = []

    def of(self, site_id: SiteId) -> int:
        """The site's version now, 0 before its first change."""
        return self._versions.get(site_id, 0)

    def bump(self, site_ids: Iterable[SiteId]) -> None:
        """Rows of these sites were changed."""
        for site_id in site_ids:
            self._versions[site_id] = self.of(site_id) + 1
        for listener in self._listeners:
            listener()

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every change, in the thread that made it; it must be quick and raise nothing."""
        self._listeners.append(listener)
