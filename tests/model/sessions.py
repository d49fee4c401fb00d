"""Sessions: a visitor's events of one local day, cut where nothing happened for more than thirty minutes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.model.records import Event

LONGEST_GAP = 30 * 60 * 1000


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """The events of one session in order; the first one is counted."""

    events: tuple[Event, ...]

    @property
    def counted(self) -> list[Event]:
        """Its pageviews and custom events."""
        return [event for event in self.events if event.counted]

    @property
    def views(self) -> list[Event]:
        """Its pageviews."""
        return [event for event in self.events if event.view]

    @property
    def start(self) -> int:
        """When its first counted event happened."""
        return self.events[0].ts

    @property
    def duration(self) -> int:
        """Milliseconds from the first to the last counted event."""
        return self.counted[-1].ts - self.start

    @property
    def bounced(self) -> bool:
        """No interactive custom event, and one pageview, or none and one custom event."""
        customs = [event for event in self.events if event.custom]
        if any(event.interactive for event in customs):
            return False
        return len(self.views) == 1 or (not self.views and len(customs) == 1)

    def value(self, dimension: str) -> str:
        """Entry and exit page are those of its pageviews, all else is the first counted event's."""
        if dimension == "entry_page":
            return self.views[0].value("pathname") if self.views else ""
        if dimension == "exit_page":
            return self.views[-1].value("pathname") if self.views else ""
        return self.events[0].value(dimension)

    def engagement_of(self, view: Event) -> list[Event]:
        """The engagement that belongs to a view: an engagement record goes to the latest earlier view of its page."""
        return [event for event in self.events if not event.counted and self._view_of(event) is view]

    def _view_of(self, engagement: Event) -> Event | None:
        page = engagement.value("pathname")
        earlier = [view for view in self.views if view.order < engagement.order and view.value("pathname") == page]
        return earlier[-1] if earlier else None

    def time_of(self, view: Event) -> int:
        """Milliseconds of a view: its engagement, else the gap to the next counted event, else nothing.

        Decision: "the sum of its engagement, else": a view with an engagement record of 0 ms has a time of 0.
        """
        engagement = self.engagement_of(view)
        if engagement:
            return sum(event.engaged_ms for event in engagement)
        later = [event for event in self.counted if event.order > view.order]
        return later[0].ts - view.ts if later else 0

    def scroll_of(self, view: Event) -> int:
        """The deepest scroll that a view's engagement knows, -1 where it knows none."""
        return max((event.scroll_depth for event in self.engagement_of(view)), default=-1)


def to_sessions(events: Iterable[Event], *, include_bots: bool) -> list[Session]:
    """Make the sessions of all visitors; bots are taken away before, unless asked for."""
    days = defaultdict(list)
    for event in events:
        if include_bots or not event.bot:
            days[event.site, event.visitor, event.day].append(event)
    runs = [run for day in days.values() for run in _to_runs(sorted(day, key=lambda event: event.order))]
    return [session for run in runs for session in _to_session(run)]


def _to_runs(events: Sequence[Event]) -> list[list[Event]]:
    """Cut at gaps of more than thirty minutes; engagement closes a gap like any other event."""
    runs = [[events[0]]]
    for before, after in pairwise(events):
        if after.ts - before.ts > LONGEST_GAP:
            runs.append([])
        runs[-1].append(after)
    return runs


def _to_session(run: Sequence[Event]) -> list[Session]:
    """One session, from the run's first counted event on; none where there is only engagement."""
    first = next((place for place, event in enumerate(run) if event.counted), None)
    return [] if first is None else [Session(tuple(run[first:]))]
