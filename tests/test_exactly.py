"""The whole product against the model: streams through collector, log, consumer and warehouse, asked over HTTP."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.exactly.asking import REPORTS, read_instant, to_comparable, to_query
from tests.exactly.product import Product, open_product
from tests.model import figures
from tests.model.arrive import to_stored
from tests.model.asked import askings
from tests.model.ledger import Outcome, ledger
from tests.model.local import to_local
from tests.model.records import Arrival, Event, Question
from tests.model.scenes import HOUR
from tests.model.sent import RECENT, Stream, sent_conditions, streams

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.model.asked import Asking
    from tests.model.records import Row, Sent
    from tests.model.sent import Request

OLDEST = 48 * HOUR
NEWEST = HOUR
SKEWS = (0, 0, 0, 7_200_000, -90_000_000)


@dataclass(frozen=True, slots=True)
class Told:
    """What the model holds of a stream that the product took: events, fates of all records, when the first one came."""

    events: list[Event]
    outcomes: list[Outcome]
    first: int


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def product(runner: asyncio.Runner, engine_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    context = open_product(tmp_path_factory.mktemp("product"), engine_url)
    yield runner.run(context.__aenter__())
    runner.run(context.__aexit__(None, None, None))


async def take(product: Product, stream: Stream, skews: Sequence[int]) -> Told:
    """Send everything in order and wait until it is stored."""
    await product.set_sites(stream.sites)
    arrivals: list[Arrival] = []
    outcomes: list[Outcome] = []
    first = product.clock()
    for number, request in enumerate(stream.requests):
        asked = request if stream.scene in RECENT else replace(request, public=False)
        if asked.settled:
            await product.settle()
        reply = await product.send(asked, skews[number % len(skews)])
        expected = {
            place: reason
            for place, one in enumerate(asked.records)
            if (reason := to_refusal(one, asked, reply.received))
        }
        assert reply.refused == expected
        assert reply.accepted == len(asked.records) - len(expected)
        for place, record in enumerate(asked.records):
            if place in expected:
                outcomes.append(Outcome(record.site.id, reply.received, "refused", expected[place]))
            else:
                arrivals.append(Arrival(record, reply.received, len(arrivals)))
    await product.settle()
    events, stored = to_stored(arrivals)
    return Told(events, outcomes + stored, first)


def to_refusal(sent: Sent, request: Request, received: int) -> str:
    """Public senders reach 48 h back and 1 h ahead."""
    if not request.public:
        return ""
    if sent.ts < received - OLDEST:
        return "too_old"
    return "in_future" if sent.ts > received + NEWEST else ""


async def compare_reports(product: Product, told: Told, asking: Asking) -> None:
    """Every report over a range."""
    for name, own, model, _ in REPORTS:
        query = [*to_query(name, asking, 0), *own.items()]
        query = [(key, str(product.ids[int(value)]) if key == "site" else value) for key, value in query]
        answer = await product.ask(f"/v1/{name}", query)
        rows = answer["data"]
        assert isinstance(rows, list)
        assert to_comparable(rows) == model(told.events, asking.question), (name, query)


async def compare_realtime(product: Product, told: Told, question: Question, at: int) -> None:
    """Who is there when the clock stands at some time."""
    query = [("site", str(product.ids[site])) for site in question.sites]
    now = product.clock.stop(at)
    try:
        rows = await product.ask_rows("/v1/realtime", query)
    finally:
        product.clock.go()
    assert rows == figures.realtime(told.events, replace(question, conditions=(), include_bots=False), now)


async def compare_ledger(product: Product, told: Told, sites: Sequence[int]) -> None:
    """Every hour of receipt closes and says what became of every record."""
    last = product.clock() + HOUR
    start, end = (to_local(instant, "UTC").isoformat() for instant in (told.first - HOUR, last))
    query = [("start", start), ("end", end), *(("site", str(product.ids[site])) for site in sites)]
    answer = await product.ask("/v1/ledger", query)
    rows = answer["data"]
    assert isinstance(rows, list)
    assert [to_hour(row) for row in rows] == [
        {
            "hour": hour.start,
            "received": hour.received,
            "stored": hour.stored,
            "bots": hour.bots,
            "duplicate": hour.duplicate,
            "refused": hour.refused,
            "dead_lettered": 0,
            "in_flight": 0,
            "erased": 0,
        }
        for hour in ledger(told.outcomes, sites)
    ]


def to_hour(row: Row) -> Row:
    """With the hour as a number."""
    return row | {"hour": read_instant(str(row["hour"]))}


@given(stream=streams(), skews=st.lists(st.sampled_from(SKEWS), min_size=1, max_size=4), data=st.data())
def test_every_endpoint_equals_the_model(
    runner: asyncio.Runner, product: Product, stream: Stream, skews: list[int], data: st.DataObject
) -> None:
    told = runner.run(take(product, stream, skews))
    for _ in range(3):
        asking = data.draw(askings(stream.scene, stream.sites, sent_conditions()))
        runner.run(compare_reports(product, told, asking))
        runner.run(compare_ledger(product, told, asking.question.sites))
        if told.events:
            ends = [event.ts + step for event in told.events for step in (0, 1, 299_999, 300_000)]
            runner.run(compare_realtime(product, told, asking.question, data.draw(st.sampled_from(ends))))
