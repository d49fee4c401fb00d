"""Streams of who is here: one question for all, asked when something may have changed, nothing kept for the slow."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.exc import OperationalError

from query_api.errors import UnauthorizedError
from query_api.families import REPORTS
from query_api.question import Question, Range, SiteView
from query_api.realtime import NEVER, Listener, Message, RealtimeHub, State, read_next_change, to_state
from schemas.event import SiteId
from schemas.warehouse.client import Limits, Warehouse
from schemas.warehouse.errors import WarehouseError

if TYPE_CHECKING:
    from collections.abc import Callable

EPOCH = datetime.fromtimestamp(0, UTC)
NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
SITES = (SiteView(SiteId(1), "example.com", "UTC"),)
QUESTION = Question(REPORTS["realtime"], Range(EPOCH, EPOCH), "UTC", SITES)
SOON = 60.0


@dataclass
class Source:
    """Answers with a number that the test sets, and notes what it was asked."""

    number: int = 1
    next_change: int = NEVER
    failing: bool = False
    asked: list[Question] = field(default_factory=list)
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, question: Question) -> State:
        """As a channel asks."""
        self.asked.append(question)
        self.was_asked.set()
        if self.failing:
            message = "gone"
            raise WarehouseError(message)
        return to_state({"data": [self.number], "meta": {}}, 1000 + len(self.asked), self.next_change)

    async def reach(self, times: int) -> None:
        """Return once it was asked so often."""
        async with asyncio.timeout(SOON):
            while len(self.asked) < times:
                self.was_asked.clear()
                await self.was_asked.wait()


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Source:
    """A source, and channels that wait hardly at all between two questions."""
    monkeypatch.setattr("query_api.realtime.SPACING", 0.01)
    monkeypatch.setattr("query_api.realtime.AFTER_FAILURE", 0.01)
    return Source()


def make_hub(source: Source, clock: Callable[[], int] = lambda: 0) -> RealtimeHub:
    return RealtimeHub(source.ask, clock)


async def hear(listener: Listener) -> Message:
    message = await listener.wait(SOON)
    assert message is not None
    return message


async def test_however_many_listen_one_question_is_asked(source: Source) -> None:
    hub = make_hub(source)
    listeners = [Listener(1, QUESTION, "") for _ in range(100)]
    with hub.listen(listeners[0]):
        first = await hear(listeners[0])
        for listener in listeners[1:]:
            with hub.listen(listener):
                assert await hear(listener) == first
    assert source.asked == [QUESTION]


async def test_other_questions_have_channels_of_their_own(source: Source) -> None:
    hub = make_hub(source)
    one, other = Listener(1, QUESTION, ""), Listener(1, replace(QUESTION, include_bots=True), "")
    with hub.listen(one), hub.listen(other):
        await hear(one)
        await hear(other)
    assert {question.include_bots for question in source.asked} == {False, True}


async def test_nothing_is_asked_until_something_lands(source: Source) -> None:
    hub = make_hub(source)
    listener = Listener(1, QUESTION, "")
    with hub.listen(listener):
        await hear(listener)
        source.number = 2
        assert await listener.wait(0.1) is None
        assert len(source.asked) == 1
        hub.wake()
        assert (await hear(listener)).body == b'{"data":[2],"meta":{}}'
        assert len(source.asked) == 2


async def test_a_burst_of_batches_is_one_question(source: Source) -> None:
    hub = make_hub(source)
    listener = Listener(1, QUESTION, "")
    with hub.listen(listener):
        await hear(listener)
        for _ in range(50):
            hub.wake()
        await source.reach(2)
        assert await listener.wait(0.1) is None
        assert len(source.asked) == 2


async def test_questions_of_a_channel_keep_their_distance(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("query_api.realtime.SPACING", 0.5)
    hub = make_hub(source)
    listener = Listener(1, QUESTION, "")
    began = asyncio.get_running_loop().time()
    with hub.listen(listener):
        await hear(listener)
        source.number = 2
        hub.wake()
        await hear(listener)
        assert asyncio.get_running_loop().time() - began >= 0.49


async def test_somebody_who_drops_out_is_noticed(source: Source) -> None:
    source.next_change = 1000  # by a clock that stands at 0: in a second
    hub = make_hub(source)
    listener = Listener(1, QUESTION, "")
    with hub.listen(listener):
        await hear(listener)
        source.number, source.next_change = 2, NEVER
        await hear(listener)
        assert len(source.asked) == 2


async def test_an_equal_state_is_not_sent_again(source: Source) -> None:
    hub = make_hub(source)
    listener = Listener(1, QUESTION, "")
    with hub.listen(listener):
        await hear(listener)
        hub.wake()
        await source.reach(2)
        assert await listener.wait(0.05) is None


async def test_who_comes_back_gets_what_it_missed_and_nothing_that_it_has(source: Source) -> None:
    hub = make_hub(source)
    stays, first = Listener(1, QUESTION, ""), Listener(1, QUESTION, "")
    with hub.listen(stays):
        with hub.listen(first):
            seen = await hear(first)
        again = Listener(1, QUESTION, seen.id)
        with hub.listen(again):
            assert await again.wait(0.05) is None
        source.number = 2
        hub.wake()
        await source.reach(2)
        later = Listener(1, QUESTION, seen.id)
        with hub.listen(later):
            assert (await hear(later)).body == b'{"data":[2],"meta":{}}'


async def test_a_slow_listener_has_one_state_waiting_and_no_more(source: Source) -> None:
    hub = make_hub(source)
    slow, quick = Listener(1, QUESTION, ""), Listener(1, QUESTION, "")
    with hub.listen(slow), hub.listen(quick):
        for number in range(2, 6):
            await hear(quick)
            source.number = number
            hub.wake()
        last = await hear(quick)
        assert await hear(slow) == last
        assert await slow.wait(0.02) is None


async def test_a_channel_asks_nothing_when_nobody_listens(source: Source) -> None:
    hub = make_hub(source)
    listener = Listener(1, QUESTION, "")
    with hub.listen(listener):
        await hear(listener)
    hub.wake()
    await asyncio.sleep(0.05)
    assert len(source.asked) == 1


async def test_a_failing_warehouse_is_asked_again(source: Source) -> None:
    source.failing = True
    hub = make_hub(source)
    listener = Listener(1, QUESTION, "")
    with hub.listen(listener):
        await source.reach(2)
        source.failing = False
        await hear(listener)


@pytest.mark.parametrize("failure", [None, OperationalError("SELECT 1", {}, Exception()), RuntimeError()])
async def test_a_stream_ends_when_its_key_does(
    source: Source, monkeypatch: pytest.MonkeyPatch, failure: Exception | None
) -> None:
    monkeypatch.setattr("query_api.realtime.RECHECK", 0.01)
    hub = make_hub(source)
    good, bad = Listener(1, QUESTION, ""), Listener(2, QUESTION, "")
    failures = [] if failure is None else [failure]

    async def recheck(listener: Listener) -> None:
        if failures:
            raise failures.pop()
        if listener.key_id == 2:
            message = "revoked"
            raise UnauthorizedError(message)

    task = asyncio.create_task(hub.recheck_keys(recheck))
    with hub.listen(good), hub.listen(bad):
        async with asyncio.timeout(SOON):
            while not bad.ended:
                await bad.wait(SOON)
        assert (bad.ended, good.ended) == ("revoked", "")
    task.cancel()


def test_a_message_is_written_as_an_event_stream() -> None:
    assert Message("7-ab", b'{"data":[]}').to_bytes() == b'id: 7-ab\ndata: {"data":[]}\n\n'


async def insert_view(warehouse: Warehouse, seconds: float, visitor: int, site: int = 1) -> None:
    """A page view so many seconds before NOW."""
    sql = (
        "INSERT INTO events (site_id, local_date, visitor_id, ts, received, name) "
        "SELECT {site:UInt32}, toDate({ts:DateTime64(3, 'UTC')}), {visitor:UInt64}, {ts:DateTime64(3, 'UTC')},"
        " {ts:DateTime64(3, 'UTC')}, 'pageview'"
    )
    await warehouse.command(sql, {"site": site, "visitor": visitor, "ts": NOW - timedelta(seconds=seconds)})


@pytest.mark.parametrize(
    ("views", "expected"),
    [
        ([], None),
        ([(300.0, 1)], None),  # (now - 5:00, now]: just out
        ([(299.999, 1)], 0.001),
        ([(200, 1), (100, 1)], 200),  # only the latest of a visitor keeps it in
        ([(200, 1), (100, 2)], 100),
        ([(10, 1), (-2, 2)], 2),  # one that is to come
    ],
)
async def test_the_next_change_is_known(
    warehouse: Warehouse, views: list[tuple[float, int]], expected: float | None
) -> None:
    for seconds, visitor in views:
        await insert_view(warehouse, seconds, visitor)
    await insert_view(warehouse, 290, 9, site=2)
    found = await read_next_change(warehouse, [SiteId(1)], NOW, Limits())
    assert found == (NEVER if expected is None else round((NOW.timestamp() + expected) * 1000))
