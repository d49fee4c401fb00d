"""All steps together, and into the real warehouse."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from ingest.enrich.geo import open_geo
from ingest.enrich.pipeline import EVENT_COLUMNS, STEPS, Enricher, EnrichMetrics
from schemas.event import LINE_FIELDS
from schemas.warehouse.migrate import read_migrations
from schemas.zones import zone_names
from tests.ingest.enrich.make import (
    NOON,
    SAFARI,
    Value,
    make_enricher,
    make_facts,
    make_line,
    share_enricher,
    to_lines,
    write_mmdb,
)

if TYPE_CHECKING:
    from pathlib import Path

    from schemas.warehouse.client import Warehouse

ENRICHER = share_enricher()


def test_the_columns_are_those_of_the_migration() -> None:
    text = dict(read_migrations())["001_events.sql"]
    body = text[text.index("(") : text.index("PROJECTION")]
    assert re.findall(r"^    (\w+) [A-Z]", body, re.MULTILINE) == EVENT_COLUMNS


async def test_a_row_comes_back_from_the_warehouse_as_it_went_in(warehouse: Warehouse, tmp_path: Path) -> None:
    geo = open_geo(write_mmdb(tmp_path / "a.mmdb", {"192.0.2.0/24": {"country_code": "DE", "city": "Fulda"}}))
    full = make_line(
        url="https://www.example.com:443/a%20b?utm_source=fb&utm_medium=cpc&utm_campaign=c&utm_content=d&utm_term=e&fbclid=1",
        referrer="https://l.facebook.com/l.php?u=x",
        event_id="018f0000-0000-7000-8000-000000000001",
        name="signup",
        title="Ä title",
        props='{"plan":"pro","seats":3,"trial":true}',
        revenue_amount="12.5",
        revenue_currency="EUR",
        screen_width=1440,
        language="de-de",
        timezone="Europe/Berlin",
        interactive=False,
        ingest=True,
        site_timezone="Asia/Kathmandu",
    )
    lines = to_lines(full, make_line(name="engagement", engaged_ms=4000, scroll_depth=70, user_id="u"))
    rows = ENRICHER.enrich(lines, make_facts(lines, geo))
    await warehouse.insert("events", rows)
    stored = (await warehouse.query(f"SELECT {', '.join(EVENT_COLUMNS)} FROM events ORDER BY _place")).to_pylist()  # noqa: S608 (names)
    sent = rows.to_pylist()
    assert [dict(row, props=dict(row["props"])) for row in stored] == [
        dict(row, props=dict(row["props"]), ingest=int(row["ingest"]), interactive=int(row["interactive"]))
        | {"identified": int(row["identified"])}
        for row in sent
    ]
    assert {name: stored[0][name] for name in ("local_date", "ts", "hostname", "pathname", "channel", "country")} == {
        "local_date": date(2026, 5, 29),
        "ts": datetime(2026, 5, 28, 20, 26, 40, tzinfo=UTC),
        "hostname": "example.com",
        "pathname": "/a%20b",
        "channel": "Paid Social",
        "country": "DE",
    }
    assert (stored[0]["revenue_amount"], stored[0]["scroll_depth"]) == (Decimal("12.5"), -1)
    assert (stored[1]["engaged_ms"], stored[1]["scroll_depth"], stored[1]["event_id"]) == (4000, 70, 0)


def test_no_line_is_no_row() -> None:
    lines = to_lines()
    rows = ENRICHER.enrich(lines, make_facts(lines))
    assert (rows.num_rows, rows.column_names) == (0, EVENT_COLUMNS)


TEXTS = st.one_of(st.just(""), st.text(), st.sampled_from(["https://example.com/?utm_source=%FF", SAFARI, "::1", "-"]))
STRATEGIES: dict[str, st.SearchStrategy[Value]] = {
    "string": TEXTS,
    "int64": st.integers(-(2**63), 2**63 - 1),
    "bool": st.booleans(),
}
BOUNDED: dict[str, st.SearchStrategy[Value]] = {
    "site_id": st.integers(0, 2**32 - 1),
    "ts": st.integers(86_400_000, 65_534 * 86_400_000),
    "received": st.integers(86_400_000, 49_710 * 86_400_000),
    "engaged_ms": st.integers(0, 2**32 - 1),
    "scroll_depth": st.integers(0, 100),
    "attempt": st.integers(0, 2**31 - 1),
    "site_timezone": st.sampled_from(sorted(zone_names())),
    "event_id": st.one_of(TEXTS, st.uuids().map(str)),
    "address": st.one_of(TEXTS, st.ip_addresses().map(str)),
    "props": st.one_of(TEXTS, st.just('{"a":1}')),
}
LINES = st.lists(
    st.fixed_dictionaries(
        {field.name: BOUNDED.get(field.name, STRATEGIES[field.kind]) for field in LINE_FIELDS if field.default is None},
        optional={
            field.name: BOUNDED.get(field.name, STRATEGIES[field.kind])
            for field in LINE_FIELDS
            if field.default is not None
        },
    ),
    max_size=6,
)


@settings(deadline=None)
@given(LINES)
def test_whatever_stands_in_the_lines_becomes_one_row_each(made: list[dict[str, Value]]) -> None:
    lines = to_lines(*made)
    rows = ENRICHER.enrich(lines, make_facts(lines))
    empty = ENRICHER.enrich(to_lines(), make_facts(to_lines()))
    assert rows.num_rows == len(made)
    assert rows.schema == empty.schema
    assert rows["_place"].to_pylist() == list(range(len(made)))
    assert all(column.null_count == 0 for column in rows.columns)
    rows.validate(full=True)


async def test_the_engine_takes_odd_rows(warehouse: Warehouse) -> None:
    texts = ["", "\x00", "😀", "\ufeff", "'\\", "x" * 2000]
    made = [make_line(url=f"https://{t}/{t}?utm_source={t}", referrer=f"http://a.{t}", name=t, title=t) for t in texts]
    lines = to_lines(*made, *(make_line(user_agent=text, address=text, language=text) for text in texts))
    rows = ENRICHER.enrich(lines, make_facts(lines))
    await warehouse.insert("events", rows)
    stored = await warehouse.query("SELECT title, name, utm_source FROM events ORDER BY _place")
    assert stored.to_pylist() == rows.select(["title", "name", "utm_source"]).to_pylist()


def test_what_is_remembered_never_changes_a_row() -> None:
    lines = to_lines(*(make_line(url=f"/{n}?ref=tw", address=f"192.0.2.{n}", referrer="google.de") for n in range(9)))
    facts = make_facts(lines)
    assert ENRICHER.enrich(lines, facts) == ENRICHER.enrich(lines, facts) == make_enricher().enrich(lines, facts)


def test_rows_do_not_depend_on_how_lines_are_batched() -> None:
    made = [
        make_line(url=f"/{n % 3}", address=f"192.0.2.{n % 4}", ts=NOON + n, user_id="u" * (n % 2)) for n in range(9)
    ]
    lines = to_lines(*made)
    facts = make_facts(lines)
    whole = ENRICHER.enrich(lines, facts).to_pylist()
    parts = [row for place in range(9) for row in ENRICHER.enrich(lines.slice(place, 1), facts).to_pylist()]
    assert whole == parts


def test_every_step_is_timed() -> None:
    registry = CollectorRegistry()
    lines = to_lines(make_line(), make_line())
    Enricher(EnrichMetrics(registry)).enrich(lines, make_facts(lines))
    assert registry.get_sample_value("pulse_enriched_events_total") == 2
    for step in STEPS:
        assert registry.get_sample_value("pulse_enrich_step_seconds_total", {"step": step.__name__})
