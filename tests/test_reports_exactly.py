"""Every report against the model, over rows put straight into the warehouse: the queries judged by themselves."""

from __future__ import annotations

import asyncio
import itertools
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_api.families import REPORTS as FAMILIES
from query_api.params import parse_question
from query_api.question import Access, Answer, SiteView
from query_api.reports import answer
from schemas.event import SiteId
from schemas.warehouse.client import Limits, Warehouse
from schemas.warehouse.migrate import migrate
from tests.exactly.asking import REPORTS, to_comparable, to_query
from tests.exactly.rows import to_rows
from tests.model import figures
from tests.model.asked import DIMENSIONS, OPERATORS, POOLS, Asking, askings
from tests.model.local import local_day, to_local
from tests.model.ranges import to_range
from tests.model.records import Condition, Question
from tests.model.scenes import HOUR, SCENES
from tests.model.stored import World, full_world, worlds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.model.records import Row

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
numbers = itertools.count(1)


@dataclass(frozen=True)
class Desk:
    """A warehouse of this module and the loop that asks it; every example has sites of its own."""

    runner: asyncio.Runner
    warehouse: Warehouse

    def store(self, world: World) -> int:
        """Insert the events; what to add to the model's site ids."""
        first_site = 10 * next(numbers)
        self.runner.run(self.warehouse.insert("events", to_rows(world.events, first_site)))
        return first_site

    def ask(self, asked: Asked, now: datetime = NOW) -> Answer:
        """The answer to a question, as the handler would ask it."""
        return self.runner.run(self._ask(asked, now))

    def ask_all(self, asked: Sequence[Asked]) -> list[list[Row]]:
        """The rows of several questions, asked at once."""

        async def ask_them() -> list[Answer]:
            return await asyncio.gather(*(self._ask(one, NOW) for one in asked))

        return [to_comparable(one.rows) for one in self.runner.run(ask_them())]

    async def _ask(self, asked: Asked, now: datetime) -> Answer:
        question = parse_question(FAMILIES[asked.report], asked.query, asked.access, now)
        return await answer(question, self.warehouse, now, Limits())


@dataclass(frozen=True)
class Asked:
    """A report, its parameters, and the sites that may be asked of."""

    report: str
    query: Sequence[tuple[str, str]]
    access: Access


def to_access(world: World, first_site: int) -> Access:
    """A key that sees the sites of a world."""
    return Access(tuple(SiteView(SiteId(first_site + one.id), one.domain, one.timezone) for one in world.sites))


def compare_all(desk: Desk, world: World, first_site: int, asking: Asking, *more: tuple[str, str]) -> None:
    """Ask every report, and the model."""
    access = to_access(world, first_site)
    asked = [
        Asked(name, [*to_query(name, asking, first_site), *own.items(), *more], access) for name, own, *_ in REPORTS
    ]
    kind = dict(more).get("compare", "")
    for one, rows, (_, _, model, dimensions) in zip(asked, desk.ask_all(asked), REPORTS, strict=True):
        if kind:
            expected = figures.compared(model, world.events, asking.question, kind, dimensions)
        else:
            expected = model(world.events, asking.question)
        assert rows == expected, (one.report, one.query)


@pytest.fixture(scope="module")
def desk(engine_url: str) -> Iterator[Desk]:
    with asyncio.Runner() as runner:
        warehouse = Warehouse(engine_url, size=2, database="reports_exactly")
        runner.run(migrate(warehouse))
        yield Desk(runner, warehouse)
        runner.run(warehouse.command("DROP DATABASE reports_exactly SYNC"))
        runner.run(warehouse.close())


@given(world=worlds(), data=st.data())
def test_every_report_equals_the_model(desk: Desk, world: World, data: st.DataObject) -> None:
    first_site = desk.store(world)
    for _ in range(2):
        compare_all(desk, world, first_site, data.draw(askings(world.scene, world.sites)))


@given(world=worlds(), data=st.data(), kind=st.sampled_from(("previous", "year")))
def test_compared_ranges_equal_the_model(desk: Desk, world: World, data: st.DataObject, kind: str) -> None:
    first_site = desk.store(world)
    compare_all(desk, world, first_site, data.draw(askings(world.scene, world.sites)), ("compare", kind))


FULL = full_world(SCENES[1])
ALL_OF_IT = Question(
    start=min(event.ts for event in FULL.events) + HOUR // 4,
    end=max(event.ts for event in FULL.events) - HOUR // 4,
    timezone="Asia/Kathmandu",
    sites=(1,),
)


def to_values(dimension: str, operator: str) -> tuple[str, ...]:
    """Values that some events of the full site meet and others do not."""
    whole = [value for value in POOLS[dimension.removeprefix("any.")] if len(value) > 1]
    parts = {
        "==": whole[:2] if len(whole) > 2 else whole[:1],
        "!=": whole[-1:],
        "=^": [whole[0][:2] if len(set(map(_first_two, whole))) > 1 else whole[0]],
        "=~": [whole[-1][1:]],
        "!~": [whole[-1], "nowhere"],
        "=*": [f"^{re.escape(whole[0])}$|nowhere"],
    }
    return tuple(parts[operator])


def _first_two(text: str) -> str:
    return text[:2]


@pytest.fixture(scope="module")
def full_site(desk: Desk) -> int:
    return desk.store(FULL)


def ask_full(dimension: str, operator: str) -> Asking:
    """The question of the full site under one condition."""
    condition = Condition(dimension, operator, to_values(dimension, operator))
    start, end = (to_local(instant, "UTC").isoformat() for instant in (ALL_OF_IT.start, ALL_OF_IT.end))
    return Asking(start, end, replace(ALL_OF_IT, conditions=(condition,)))


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_every_dimension_and_operator(desk: Desk, full_site: int, dimension: str, operator: str) -> None:
    compare_all(desk, FULL, full_site, ask_full(dimension, operator))


def test_the_table_tells_apart_what_it_filters() -> None:
    whole = figures.stats(FULL.events, ALL_OF_IT)
    for dimension, operator in itertools.product(DIMENSIONS, OPERATORS):
        row = figures.stats(FULL.events, ask_full(dimension, operator).question)
        assert row["visitors"], (dimension, operator)
        assert row != whole, (dimension, operator)


@given(world=worlds(), data=st.data())
def test_realtime_equals_the_model(desk: Desk, world: World, data: st.DataObject) -> None:
    first_site = desk.store(world)
    asking = data.draw(askings(world.scene, world.sites))
    now = data.draw(st.sampled_from([event.ts + step for event in world.events for step in (0, -1, 299_999, 300_000)]))
    query = [one for one in to_query("realtime", asking, first_site) if one[0] not in {"start", "end", "timezone"}]
    found = desk.ask(Asked("realtime", query, to_access(world, first_site)), to_local(now, "UTC"))
    assert found.rows == figures.realtime(world.events, asking.question, now)


@given(world=worlds(), data=st.data(), limit=st.integers(1, 3))
def test_pages_of_a_list_join_to_the_whole(desk: Desk, world: World, data: st.DataObject, limit: int) -> None:
    first_site = desk.store(world)
    asking = data.draw(askings(world.scene, world.sites))
    name, own, model, _ = data.draw(st.sampled_from([one for one in REPORTS if one[0] not in {"stats", "timeseries"}]))
    query = [*to_query(name, asking, first_site), *own.items()]
    cut = [(key, str(limit)) if key == "limit" else (key, value) for key, value in query]
    rows: list[Row] = []
    cursor: object = ""
    while cursor is not None:
        asked = [("cursor", str(cursor)), ("limit", str(limit))] if cursor else cut
        answered = desk.ask(Asked(name, asked, to_access(world, first_site)))
        rows += answered.rows
        cursor = answered.meta["cursor"]
    expected = model(world.events, asking.question)
    assert (rows, answered.meta["total"]) == (expected, len(expected)), (name, query)


def test_a_cursor_keeps_a_range_that_ends_within_the_last_second_of_a_day(desk: Desk) -> None:
    end = to_range("2026-03-10", "2026-03-10", "UTC")[1] - 500
    view = replace(next(event for event in FULL.events if event.view), bot=False)
    views = [
        replace(
            view,
            day=local_day(end, "UTC"),
            visitor=path,
            ts=end + late,
            dimensions={**view.dimensions, "pathname": path},
        )
        for path, late in (("/a", -2), ("/b", -1), ("/too-late", 100))
    ]
    world = replace(FULL, events=tuple(views))
    access = to_access(world, first_site := desk.store(world))
    said = [("start", "2026-03-01"), ("end", "2026-03-11T01:29:59.500+01:30"), ("site", str(first_site + 1))]
    first = desk.ask(Asked("pages", [*said, ("limit", "1")], access))
    second = desk.ask(Asked("pages", [("cursor", str(first.meta["cursor"])), ("limit", "9")], access))
    assert [row["pathname"] for row in (*first.rows, *second.rows)] == ["/a", "/b"]


@given(world=worlds(), data=st.data())
def test_totals_agree_wherever_they_are_asked(desk: Desk, world: World, data: st.DataObject) -> None:
    first_site = desk.store(world)
    asking = data.draw(askings(world.scene, world.sites))
    asking = replace(asking, question=replace(asking.question, conditions=()))
    access = to_access(world, first_site)
    asked = [Asked(name, [*to_query(name, asking, first_site), *own.items()], access) for name, own, _, _ in REPORTS]
    found = {one.report: rows for one, rows in zip(asked, desk.ask_all(asked), strict=True)}
    (stats,) = found["stats"]
    for name in ("timeseries", "pages", "referrers", "geo", "devices"):
        assert sum_of(found[name], "pageviews") == stats["pageviews"], name
    assert sum_of(found["timeseries"], "sessions") == stats["sessions"]
    assert sum_of(found["events"], "total") + sum_of(found["pages"], "pageviews") == stats["events"]


@given(world=worlds(), days=st.integers(1, 4), more=st.sampled_from(("v", "w")))
def test_anonymous_visitors_of_whole_local_days_add_up(desk: Desk, world: World, days: int, more: str) -> None:
    site = world.sites[0]
    own = [event for event in world.events if event.site == site.id and event.visitor[1] == more]  # type: ignore[index]
    own = [event for event in own if event.day == local_day(event.ts, site.timezone)]
    first_site = desk.store(replace(world, events=tuple(own)))
    start = world.scene.day - timedelta(days=1)
    query = [("start", start.isoformat()), ("end", (start + timedelta(days=days)).isoformat())]
    query += [("site", str(first_site + site.id))]
    access = to_access(world, first_site)
    asked = [Asked("stats", query, access), Asked("timeseries", [*query, ("interval", "1 day")], access)]
    (stats,), buckets = desk.ask_all(asked)
    assert sum_of(buckets, "visitors") == stats["visitors"]


def sum_of(rows: Sequence[Row], measure: str) -> int:
    """A column added up."""
    return sum(int(str(row[measure])) for row in rows)
