"""Records of the model: a site, a record as it was sent, an event as it is stored, a question."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping
    from datetime import date

PAGEVIEW = "pageview"
ENGAGEMENT = "engagement"

Scalar = str | int | float | bool
Figure = str | int | float | None
Row = dict[str, Figure | dict[str, Figure]]

# Dimensions that belong to the event; all others belong to its session (METRICS.md, Filters).
EVENT_DIMENSIONS = ("pathname", "hostname", "event_name")
SESSION_DIMENSIONS = (
    "entry_page",
    "exit_page",
    "referrer",
    "referrer_source",
    "channel",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_content",
    "utm_term",
    "country",
    "region",
    "city",
    "device_type",
    "browser",
    "browser_version",
    "os",
    "os_version",
    "language",
    "screen",
)


@dataclass(frozen=True, slots=True)
class Site:
    """A site: its id, its domain and the zone of its local days."""

    id: int
    domain: str
    timezone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One record as a sender gives it to the collector; times in epoch milliseconds, -1 and empty are "not given"."""

    site: Site
    ts: int
    url: str
    name: str = PAGEVIEW
    event_id: str = ""
    attempt: int = 1
    referrer: str = ""
    title: str = ""
    props: tuple[tuple[str, Scalar], ...] = ()
    revenue: tuple[str, str] | None = None
    user_id: str = ""
    address: str = "81.2.69.142"
    user_agent: str = ""
    language: str = ""
    screen_width: int = 0
    interactive: bool = True
    engaged_ms: int = 0
    scroll_depth: int = -1


@dataclass(frozen=True, slots=True)
class Arrival:
    """A sent record with its receipt: when it came (epoch ms) and the how-many-eth it was (the order of the log)."""

    sent: Sent
    received: int
    place: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Event:
    """One stored event. Equal only to itself: two alike events are two events."""

    site: int
    visitor: Hashable
    day: date
    ts: int
    place: int
    name: str = PAGEVIEW
    interactive: bool = True
    bot: bool = False
    engaged_ms: int = 0
    scroll_depth: int = -1
    dimensions: Mapping[str, str] = field(default_factory=dict)
    props: Mapping[str, str] = field(default_factory=dict)

    @property
    def counted(self) -> bool:
        """Pageviews and custom events count; engagement never does."""
        return self.name != ENGAGEMENT

    @property
    def view(self) -> bool:
        """A pageview."""
        return self.name == PAGEVIEW

    @property
    def custom(self) -> bool:
        """Neither a pageview nor engagement."""
        return self.counted and not self.view

    @property
    def order(self) -> tuple[int, int]:
        """By event time, then as the log holds them."""
        return self.ts, self.place

    def value(self, dimension: str) -> str:
        """The event's own value of a dimension; empty text is none."""
        if dimension == "event_name":
            return self.name
        if dimension.startswith("props."):
            return self.props.get(dimension.removeprefix("props."), "")
        return self.dimensions.get(dimension, "")


@dataclass(frozen=True, slots=True)
class Condition:
    """One filter: a dimension (perhaps with `any.` before it), an operator, and the values it is held against."""

    dimension: str
    operator: str
    values: tuple[str, ...]

    @property
    def any(self) -> bool:
        """A condition on the session: that it holds an event which meets it."""
        return self.dimension.startswith("any.")

    @property
    def bare(self) -> str:
        """The dimension without `any.`."""
        return self.dimension.removeprefix("any.")

    @property
    def of_event(self) -> bool:
        """A condition that keeps events, not sessions."""
        return self.dimension in EVENT_DIMENSIONS or self.dimension.startswith("props.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked: instants in epoch milliseconds (end excluded), a zone, sites, conditions."""

    start: int
    end: int
    timezone: str = "UTC"
    sites: tuple[int, ...] = ()
    conditions: tuple[Condition, ...] = ()
    include_bots: bool = False
    interval: str = "1 hour"

    def holds(self, instant: int) -> bool:
        """The start belongs to the range, the end does not."""
        return self.start <= instant < self.end
