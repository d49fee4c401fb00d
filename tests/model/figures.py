"""Every endpoint's rows, as METRICS.md words them, for a question over a list of stored events."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tests.model.filters import keeps_event, keeps_session, meets
from tests.model.local import buckets
from tests.model.ranges import to_previous, to_year
from tests.model.sessions import to_sessions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.model.records import Condition, Event, Figure, Question, Row
    from tests.model.sessions import Session

    Report = Callable[[Iterable[Event], Question], list[Row]]

FIVE_MINUTES = 5 * 60 * 1000
GEO = ("country", "region")
DEVICES = ("device_type", "browser", "os")
REALTIME = ("pathname", "country", "device_type", "referrer_source")

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """An event that a question keeps, and the session that holds it."""

    event: Event
    session: Session

    def key(self, dimensions: Sequence[str]) -> Key:
        """Values to group by: pathname, hostname and event_name are the event's, all others the session's."""
        return tuple(
            (self.event if name in ("pathname", "event_name") else self.session).value(name) for name in dimensions
        )


@dataclass(frozen=True, slots=True)
class Selection:
    """What a question keeps: `events` lie in its range, `sessions` start in it and hold a kept event anywhere."""

    events: tuple[Kept, ...]
    sessions: tuple[Session, ...]

    @property
    def visitors(self) -> int:
        """Distinct visitors with a kept event."""
        return len({(kept.event.site, kept.event.visitor) for kept in self.events})

    @property
    def pageviews(self) -> int:
        """Kept pageviews."""
        return sum(kept.event.view for kept in self.events)


def select(events: Iterable[Event], question: Question) -> Selection:
    """Apply filters and range; sessions are made of everything before."""
    asked = [event for event in events if event.site in question.sites]
    sessions = to_sessions(asked, include_bots=question.include_bots)
    sessions = [session for session in sessions if keeps_session(session, question.conditions)]
    everywhere = [
        Kept(event, session)
        for session in sessions
        for event in session.events
        if keeps_event(event, question.conditions)
    ]
    holding = {kept.session for kept in everywhere}
    return Selection(
        tuple(kept for kept in everywhere if question.holds(kept.event.ts)),
        tuple(session for session in sessions if session in holding and question.holds(session.start)),
    )


def quotient(top: int, bottom: int, digits: int) -> float:
    """A rate or mean, 0 over nothing, rounded as Python rounds the quotient of the two integers."""
    return round(top / bottom, digits) if bottom else 0.0


def bounce_rate(sessions: Sequence[Session]) -> float:
    """Bounces per session, four decimals."""
    return quotient(sum(session.bounced for session in sessions), len(sessions), 4)


def entered_as_asked(sessions: Sequence[Session], conditions: Sequence[Condition]) -> list[Session]:
    """Under a pathname condition a bounce rate is over the sessions whose entry page meets it.

    Decision: of several pathname conditions the entry page meets all; a session without a page enters on "".
    """
    own = [condition for condition in conditions if condition.dimension == "pathname"]
    return [
        session
        for session in sessions
        if all(meets(session.value("entry_page"), one.operator, one.values) for one in own)
    ]


def stats(events: Iterable[Event], question: Question) -> Row:
    """The one row of /v1/stats."""
    found = select(events, question)
    return {
        "visitors": found.visitors,
        "pageviews": found.pageviews,
        "events": len(found.events),
        "sessions": len(found.sessions),
        "avg_duration": quotient(sum(session.duration for session in found.sessions), 1000 * len(found.sessions), 1),
        "bounce_rate": bounce_rate(entered_as_asked(found.sessions, question.conditions)),
        # Decision: METRICS.md has no line for it; as for every mean, 0 over nothing.
        "views_per_session": quotient(found.pageviews, len(found.sessions), 2),
    }


def timeseries(events: Iterable[Event], question: Question) -> list[Row]:
    """One row a bucket, zeros included."""
    stored = list(events)
    found = select(stored, question)
    rows: list[Row] = []
    for bucket in buckets(question.start, question.end, question.interval, question.timezone):
        kept = Selection(
            tuple(one for one in found.events if bucket.holds(one.event.ts)),
            tuple(session for session in found.sessions if bucket.holds(session.start)),
        )
        figures = {"visitors": kept.visitors, "pageviews": kept.pageviews, "sessions": len(kept.sessions)}
        rows.append({"t": bucket.t, "start": bucket.start, **figures})
    return rows


def pages(events: Iterable[Event], question: Question) -> list[Row]:
    """Pages with a kept pageview in the range."""
    stored = list(events)
    found = select(stored, question)
    rows: list[Row] = []
    for (page,), group in _groups(found, ("pathname",)):
        if group.pageviews:
            row: Row = {"pathname": page, "visitors": group.visitors, "pageviews": group.pageviews}
            rows.append(row | _page_figures(group, found.sessions, page))
    return _ranked(_add_conversion(rows, ("pathname",), stored, question), "visitors", ("pathname",))


def _page_figures(group: Selection, sessions: Sequence[Session], page: str) -> Row:
    """`group` are the kept events of the page, `sessions` all that start in the range and hold a kept event."""
    views = [kept for kept in group.events if kept.event.view]
    time = sum(kept.session.time_of(kept.event) for kept in views)
    entered = [session for session in sessions if session.views and session.value("entry_page") == page]
    left = [session for session in sessions if session.views and session.value("exit_page") == page]
    return {
        "avg_duration": quotient(time, 1000 * len({kept.session for kept in views}), 1),
        "bounce_rate": bounce_rate(entered),
        "entries": len(entered),
        "exits": len(left),
        "scroll_depth": _scroll_depth(views),
    }


def _scroll_depth(views: Sequence[Kept]) -> float:
    """The deepest of each session, then the mean over sessions that have one.

    Decision: of the engagement that belongs to the page's kept views in the range, as for its avg_duration.
    """
    deepest: dict[Session, int] = {}
    for kept in views:
        depth = kept.session.scroll_of(kept.event)
        if depth >= 0:
            deepest[kept.session] = max(depth, deepest.get(kept.session, 0))
    return quotient(sum(deepest.values()), len(deepest), 1)


def referrers(events: Iterable[Event], question: Question) -> list[Row]:
    """Sources by visitors."""
    stored = list(events)
    found = select(stored, question)
    rows: list[Row] = []
    for (source,), group in _groups(found, ("referrer_source",)):
        sessions = [session for session in found.sessions if session.value("referrer_source") == source]
        rate = bounce_rate(entered_as_asked(sessions, question.conditions))
        row: Row = {"referrer_source": source, "visitors": group.visitors, "pageviews": group.pageviews}
        rows.append(row | {"bounce_rate": rate})
    dimensions = ("referrer_source",)
    return _ranked(_add_conversion(rows, dimensions, stored, question), "visitors", dimensions)


def breakdown(events: Iterable[Event], question: Question, dimensions: Sequence[str]) -> list[Row]:
    """/v1/geo (`GEO`, perhaps with city) and /v1/devices (`DEVICES`)."""
    stored = list(events)
    rows: list[Row] = [
        dict(zip(dimensions, key, strict=True)) | {"visitors": group.visitors, "pageviews": group.pageviews}
        for key, group in _groups(select(stored, question), dimensions)
    ]
    return _ranked(_add_conversion(rows, dimensions, stored, question), "visitors", dimensions)


def custom_events(events: Iterable[Event], question: Question) -> list[Row]:
    """/v1/events: custom events by how often they happened.

    Decision: conversion_rate divides by the visitors under the same filters without the conditions on event_name;
    `any.` conditions stay.
    """
    stored = list(events)
    found = select(stored, question)
    without = [condition for condition in question.conditions if condition.dimension != "event_name"]
    visitors = select(stored, replace(question, conditions=tuple(without))).visitors
    rows: list[Row] = []
    for (name,), group in _groups(found, ("event_name",)):
        if group.events[0].event.custom:
            row: Row = {"event_name": name, "total": len(group.events), "unique_visitors": group.visitors}
            rows.append(row | {"conversion_rate": quotient(group.visitors, visitors, 4)})
    return _ranked(rows, "total", ("event_name",))


def realtime(events: Iterable[Event], question: Question, now: int) -> list[Row]:
    """Each visitor with a pageview in (now - 5:00, now], in the row of the latest one."""
    # Milliseconds are whole, so the half-open range of a question is moved by one.
    recent = select(events, replace(question, start=now - FIVE_MINUTES + 1, end=now + 1))
    latest: dict[tuple[int, object], Kept] = {}
    for kept in sorted(recent.events, key=lambda one: one.event.order):
        if kept.event.view:
            latest[kept.event.site, kept.event.visitor] = kept
    counts = Counter(kept.key(REALTIME) for kept in latest.values())
    rows: list[Row] = [
        dict(zip(REALTIME, key, strict=True)) | {"current_visitors": count} for key, count in counts.items()
    ]
    return _ranked(rows, "current_visitors", REALTIME)


def _groups(found: Selection, dimensions: Sequence[str]) -> list[tuple[Key, Selection]]:
    """The kept events by their values of the dimensions; sessions are not grouped here."""
    keys = {kept.key(dimensions) for kept in found.events}
    return [(key, Selection(tuple(kept for kept in found.events if kept.key(dimensions) == key), ())) for key in keys]


def _add_conversion(rows: list[Row], dimensions: Sequence[str], events: list[Event], question: Question) -> list[Row]:
    """Under an `any.` filter every list says which part of a row's visitors it kept."""
    if not any(condition.any for condition in question.conditions):
        return rows
    without = tuple(condition for condition in question.conditions if not condition.any)
    before = dict(_groups(select(events, replace(question, conditions=without)), dimensions))

    def rate(row: Row) -> float:
        key = tuple(str(row[name]) for name in dimensions)
        return quotient(int(str(row["visitors"])), before[key].visitors, 4)

    return [row | {"conversion_rate": rate(row)} for row in rows]


def _ranked(rows: list[Row], measure: str, dimensions: Sequence[str]) -> list[Row]:
    """By the measure descending, then by the dimensions ascending by bytes."""

    def rank(row: Row) -> tuple[int, list[bytes]]:
        return -int(str(row[measure])), [str(row[name]).encode() for name in dimensions]

    return sorted(rows, key=rank)


def compared(
    report: Report, events: Iterable[Event], question: Question, kind: str, dimensions: Sequence[str]
) -> list[Row]:
    """The rows of a report, each with the figures of the other range beside it."""
    stored = list(events)
    to_other = {"previous": to_previous, "year": to_year}[kind]
    start, end = to_other(question.start, question.end, question.timezone)
    rows = report(stored, question)
    others = report(stored, replace(question, start=start, end=end))
    if "t" in dimensions:
        found: list[Row | None] = [*others, *([None] * len(rows))]
    else:
        by_key = {tuple(row[name] for name in dimensions): row for row in others}
        found = [by_key.get(tuple(row[name] for name in dimensions)) for row in rows]
    return [row | {"compare": _figures_of(other, row, dimensions)} for row, other in zip(rows, found, strict=False)]


def _figures_of(other: Row | None, row: Row, dimensions: Sequence[str]) -> dict[str, Figure]:
    """Decision: a key or a place that the other range does not have is all zeros."""
    return {name: _figure(other[name]) if other else 0 for name in row if name not in dimensions}


def _figure(value: object) -> Figure:
    return value if isinstance(value, str | int | float) else None
