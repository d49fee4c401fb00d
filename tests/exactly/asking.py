"""A question of the model in the words of the HTTP API, and the answers of both in one shape."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import orjson

from tests.model import figures
from tests.model.local import to_instant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tests.model.asked import Asking
    from tests.model.records import Condition, Event, Question, Row

    Model = Callable[[Iterable[Event], Question], list[Row]]

MOST_ROWS = 1000
GEO = figures.GEO
CITY = (*GEO, "city")

# Each report as the model answers it: the path, its own parameters, the model's rows, the dimensions of a row.
REPORTS: tuple[tuple[str, Mapping[str, str], Model, Sequence[str]], ...] = (
    ("stats", {}, lambda events, question: [figures.stats(events, question)], ()),
    ("pages", {}, figures.pages, ("pathname",)),
    ("referrers", {}, figures.referrers, ("referrer_source",)),
    ("timeseries", {}, figures.timeseries, ("t", "start")),
    ("events", {}, figures.custom_events, ("event_name",)),
    ("geo", {}, lambda events, question: figures.breakdown(events, question, GEO), GEO),
    ("geo", {"detail": "city"}, lambda events, question: figures.breakdown(events, question, CITY), CITY),
    ("devices", {}, lambda events, question: figures.breakdown(events, question, figures.DEVICES), figures.DEVICES),
)


def to_query(report: str, asking: Asking, first_site: int) -> list[tuple[str, str]]:
    """The parameters of a question, all but those that only one report has."""
    question = asking.question
    query = [("start", asking.start), ("end", asking.end), ("timezone", question.timezone)]
    query += [("site", str(first_site + site)) for site in question.sites]
    if question.conditions:
        query.append(("filters", to_filters(question.conditions, short=len(question.conditions) % 2 == 1)))
    if question.include_bots:
        query.append(("include_bots", "true"))
    if report == "timeseries":
        query.append(("interval", question.interval))
    elif report != "stats":
        query.append(("limit", str(MOST_ROWS)))
    return query


def to_filters(conditions: Sequence[Condition], *, short: bool) -> str:
    """Both forms say the same."""
    if not short:
        return orjson.dumps([[one.dimension, one.operator, one.values] for one in conditions]).decode()
    return ";".join(one.dimension + one.operator + _to_values(one) for one in conditions)


def _to_values(condition: Condition) -> str:
    if condition.operator == "=*":
        return condition.values[0].replace(";", r"\;")
    return "|".join(_escape(value) for value in condition.values)


def _escape(value: str) -> str:
    return "".join(f"\\{letter}" if letter in r"\|;=!~^*" else letter for letter in value)


def to_comparable(rows: Sequence[Row]) -> list[Row]:
    """Rows of the API with instants as numbers, as the model has them."""
    return [row | {"start": read_instant(str(row["start"]))} if "start" in row else row for row in rows]


def read_instant(text: str) -> int:
    """Epoch milliseconds of an instant in words; it must say its offset."""
    moment = datetime.fromisoformat(text)
    assert moment.tzinfo is not None
    return to_instant(moment)
