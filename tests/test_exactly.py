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
    """Send everything in order and wait until it is stored; on the way the ledger closes at every moment."""
    await product.set_sites(stream.sites)
    arrivals: list[Arrival] = []
    refused: list[Outcome] = []
    first = product.clock()
    for number, request in enumerate(stream.requests):
        asked = request if stream.scene in RECENT else replace(request, public=False)
        if asked.settled:
            await product.settle()
        reply = await product.send(asked, skews[number % len(skews)])
        reasons = [to_refusal(record, asked, reply.received) for record in asked.records]
        assert reply.refused == {place: reason for place, reason in enumerate(reasons) if reason}
        assert reply.accepted == reasons.count("")
        for record, reason in zip(asked.records, reasons, strict=True):
            if reason:
                refused.append(Outcome(record.site.id, reply.received, "refused", reason))
            else:
                arrivals.append(Arrival(record, reply.received, len(arrivals)))
        if number % 3 == 0:
            refuse_open_hours(await ask_ledger(product, first))
    await product.settle()
    events, stored = to_stored(arrivals)
    told = Told(events, refused + stored, first)
    await wait_for_refusals(product, told)
    return told


async def ask_ledger(product: Product, first: int, sites: Sequence[int] = ()) -> list[Row]:
    """The hours from `first` on, of all sites of the example or of some; each one closes by itself."""
    start, end = (to_local(instant, "UTC").isoformat() for instant in (first - HOUR, product.clock() + HOUR))
    query = [("start", start), ("end", end), *(("site", str(product.ids[site])) for site in sites)]
    answer = await product.ask("/v1/ledger", query)
    rows, meta = answer["data"], answer["meta"]
    assert isinstance(rows, list)
    assert isinstance(meta, dict)
    assert meta["closed"]
    return rows


def refuse_open_hours(rows: Sequence[Row]) -> None:
    """Whatever is under way: received is the sum of what became of it."""
    for row in rows:
        refused = row["refused"]
        assert isinstance(refused, dict)
        fates = [row[name] for name in ("stored", "bots", "duplicate", "dead_lettered", "in_flight", "erased")]
        assert row["received"] == sum(int(str(count)) for count in (*refused.values(), *fates)), row


async def wait_for_refusals(product: Product, told: Told) -> None:
    """A refusal with no block to travel in is in the ledger within a second."""
    async with asyncio.timeout(20):
        while True:
            product.landed.clear()
            rows = await ask_ledger(product, told.first)
            if sum(int(str(row["received"])) for row in rows) >= len(told.outcomes):
                return
            await product.landed.wait()


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
        rows, meta = answer["data"], answer["meta"]
        assert isinstance(rows, list)
        assert isinstance(meta, dict)
        assert to_comparable(rows) == model(told.events, asking.question), (name, query)
        asked = asking.question
        resolved = (read_instant(meta["start"]), read_instant(meta["end"]), meta["timezone"])
        assert resolved == (asked.start, asked.end, asked.timezone)


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
    """Every hour of receipt says what became of every record."""
    rows = await ask_ledger(product, told.first, sites)
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
    for _ in range(2):
        asking = data.draw(askings(stream.scene, stream.sites, sent_conditions()))
        # What was refused for its age depends on when it came, so nothing that is drawn may depend on what is stored.
        moment = data.draw(st.integers(0, 999))
        runner.run(compare_reports(product, told, asking))
        runner.run(compare_ledger(product, told, asking.question.sites))
        ends = [event.ts + step for event in told.events for step in (0, 1, 299_999, 300_000)]
        if ends:
            runner.run(compare_realtime(product, told, asking.question, ends[moment % len(ends)]))
