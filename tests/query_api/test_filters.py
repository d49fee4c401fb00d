"""Filters: both forms of text, and what each operator keeps."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from query_api.filters import parse_filters
from query_api.question import Condition
from tests.query_api.events import ask, insert, make_event

if TYPE_CHECKING:
    from schemas.warehouse.client import Warehouse

SHORT = {
    "country==US": [("country", "==", ("US",))],
    "country==US|": [("country", "==", ("US", ""))],
    "country==US;pathname=^/blog/;browser!=Chrome|Edge": [
        ("country", "==", ("US",)),
        ("pathname", "=^", ("/blog/",)),
        ("browser", "!=", ("Chrome", "Edge")),
    ],
    r"pathname==/a\;b\|c\\d": [("pathname", "==", (r"/a;b|c\d",))],
    r"pathname=*^/(a|b)\d+\;$": [("pathname", "=*", (r"^/(a|b)\d+;$",))],
    r"props.a\=\=b==c==d": [("props.a==b", "==", ("c==d",))],
    "pathname=~==": [("pathname", "=~", ("==",))],
    "any.props.plan!~pro;": [("any.props.plan", "!~", ("pro",))],
    "": [],
}

WRONG = {
    "contry==US": "unknown dimension 'contry'; did you mean country?",
    "country": "no operator in 'country'",
    "any.country==US": "unknown dimension 'any.country'",
    "props.==x": "unknown dimension 'props.'",
    "[1": "not JSON",
    "[1]": "write [",
    '[["country", "~", ["x"]]]': "unknown operator '~'",
    '[["country", "==", []]]': "no value",
    '[["country", "==", [{}]]]': "write [",
    '[{"dimension": "country", "op": "=="}]': "unknown field 'op'",
    ";".join(["country==US"] * 51): "more than 50 conditions",
}

# Visitor 1 enters from Google on /a and signs up on /b with plan pro; visitor 2 comes from Bing and sees /b only.
KEPT = {
    "referrer_source==Google": {1},
    "referrer_source!=Google": {2},
    "referrer_source==Google|Bing": {1, 2},
    "pathname=^/a": {1},
    "pathname=~b": {1, 2},
    "pathname!~b": {1},
    "pathname=*^/(b|c)$": {1, 2},
    "entry_page==/a": {1},
    "exit_page==/b": {1, 2},
    "event_name==signup": {1},
    "props.plan==pro": {1},
    "props.plan==": {1, 2},
    "props.plan!=pro;event_name!=pageview": set(),
    "any.pathname==/a": {1},
    "any.pathname!=/a": {2},
    "any.event_name==signup;any.pathname==/b": {1},
    "any.event_name==signup;any.pathname==/a": set(),
    "any.props.plan=~r": {1},
    "hostname==one.example;country==DE": {1, 2},
    "country==FR": set(),
}


@pytest.mark.parametrize("text", SHORT)
def test_the_short_form_is_read(text: str) -> None:
    conditions, problems = parse_filters(text)
    assert [(one.dimension, one.operator, one.values) for one in conditions] == SHORT[text]
    assert not problems


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_told_with_its_place(text: str) -> None:
    _, problems = parse_filters(text)
    assert any(WRONG[text] in problem and problem.startswith("filters: ") for problem in problems)


def test_json_says_the_same_in_two_ways() -> None:
    expected = (Condition("props.n", "==", ("1.5", "true", "x")),)
    assert parse_filters('[["props.n", "==", [1.5, true, "x"]]]') == (expected, ())
    text = json.dumps([{"dimension": "props.n", "operator": "==", "values": [1.5, True, "x"]}])
    assert parse_filters(text) == (expected, ())


async def test_operators_keep_what_meets_them(warehouse: Warehouse) -> None:
    await insert(
        warehouse,
        make_event(referrer_source="Google", pathname="/a"),
        make_event(at=5, pathname="/b"),
        make_event("signup", 6, pathname="/b", props=[("plan", "pro")]),
        make_event(visitor=2, referrer_source="Bing", pathname="/b"),
    )
    found = {}
    for text in KEPT:
        rows = (await ask(warehouse, "referrers", [("filters", text)])).rows
        found[text] = {1 if row["referrer_source"] == "Google" else 2 for row in rows}
    assert found == KEPT


@pytest.mark.parametrize("value", ["'", "\\", "{p0:String}", "a'b\\", "\x00", "é\n\t", "'); DROP TABLE events --"])
async def test_values_travel_as_they_are(warehouse: Warehouse, value: str) -> None:
    await insert(warehouse, make_event(pathname=f"/{value}", props=[(f"k{value}", value)]))
    for name, operator in ((f"props.k{value}", "=="), (f"any.props.k{value}", "=~")):
        filters = json.dumps([[name, operator, [value]], ["pathname", "=^", [f"/{value}"]]])
        [row] = (await ask(warehouse, "pages", [("filters", filters), ("compare", "previous")])).rows
        assert row["pathname"] == f"/{value}"


async def test_under_a_pathname_condition_bounces_are_of_those_who_entered_there(warehouse: Warehouse) -> None:
    await insert(
        warehouse,
        make_event(pathname="/a"),
        make_event(at=5, pathname="/b"),
        make_event(visitor=2, pathname="/b"),
    )
    [row] = (await ask(warehouse, "stats", [("filters", "pathname==/b")])).rows
    assert (row["sessions"], row["bounce_rate"], row["pageviews"]) == (2, 1.0, 2)


async def test_a_session_of_custom_events_enters_on_no_page(warehouse: Warehouse) -> None:
    await insert(warehouse, make_event("signup", pathname="/a"))
    kept = {
        text: (await ask(warehouse, "stats", [("filters", text)])).rows[0]["sessions"]
        for text in ("entry_page!=/a", "entry_page==", "exit_page==", "entry_page==/a", "exit_page==/a")
    }
    assert kept == {"entry_page!=/a": 1, "entry_page==": 1, "exit_page==": 1, "entry_page==/a": 0, "exit_page==/a": 0}
