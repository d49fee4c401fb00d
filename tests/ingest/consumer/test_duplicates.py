"""What is a resend, by receipt time, attempt and ingest key; in one batch, from memory and from the warehouse."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.duplicates import Duplicates, Sends
from ingest.lately_seen import HOUR, SPAN, LatelySeen
from tests.ingest.consumer.rivers import DAY, NOW, OTHER_SITE, make_line

if TYPE_CHECKING:
    from tests.ingest.consumer.rivers import Line, River

ID = str(uuid.UUID(int=5))
MINUTE = 60_000

# How the second copy differs from the first, and whether it is a duplicate.
RESENDS: dict[str, tuple[Line, bool]] = {
    "at once": ({}, True),
    "within the hour": ({"received": NOW + 59 * MINUTE}, True),
    "after three hours": ({"received": NOW + 3 * HOUR}, False),
    "after three hours, said to be a resend": ({"received": NOW + 3 * HOUR, "attempt": 2}, True),
    "after 49 hours, said to be a resend": ({"received": NOW + 49 * HOUR, "attempt": 2}, False),
    "of another site": ({"site_id": OTHER_SITE}, False),
    "another id": ({"event_id": str(uuid.UUID(int=6))}, False),
    "in capital letters": ({"event_id": ID.upper()}, True),
    "no id": ({"event_id": ""}, False),
    "engagement": ({"name": "engagement"}, True),
}


def make_pair(change: Line) -> tuple[Line, Line]:
    first = make_line(event_id=ID)
    return first, first | change


async def assert_second_is(river: River, *, duplicate: bool) -> None:
    assert len(await river.positions("duplicates")) == duplicate
    assert len(await river.positions()) == 2 - duplicate
    await river.assert_ledger_closes()


@pytest.mark.parametrize("name", RESENDS)
async def test_in_one_batch(river: River, name: str) -> None:
    change, duplicate = RESENDS[name]
    first, second = make_pair(change)
    river.now = NOW + 50 * HOUR
    await river.append([first, second])
    await river.consume()
    await assert_second_is(river, duplicate=duplicate)


@pytest.mark.parametrize("name", RESENDS)
async def test_in_a_later_batch_after_a_restart(river: River, name: str) -> None:
    change, duplicate = RESENDS[name]
    first, second = make_pair(change)
    river.now = NOW + 50 * HOUR
    await river.append([first])
    await river.consume()
    await river.append([second])
    await river.consume()
    await assert_second_is(river, duplicate=duplicate)


async def test_with_an_ingest_key_an_id_counts_once_for_ever(river: River) -> None:
    line = make_line(event_id=ID, ts=NOW - 400 * DAY, ingest=True)
    await river.append([line])
    await river.consume()
    river.now = NOW + 100 * DAY
    await river.append([line | {"received": river.now}, line | {"received": river.now}])
    await river.consume()
    assert await river.positions() == [(0, 0, 0)]
    assert await river.positions("duplicates") == [(0, 1, 0), (0, 1, 1)]
    await river.assert_ledger_closes()


@pytest.mark.parametrize("later", [5 * DAY, 400 * DAY])
async def test_with_an_ingest_key_it_counts_once_though_its_date_is_another(river: River, later: int) -> None:
    line = make_line(event_id=ID, ts=NOW, ingest=True)
    await river.append([line])
    await river.consume()
    river.now = NOW + later
    await river.append([line | {"ts": river.now, "received": river.now}])
    await river.consume()
    await assert_second_is(river, duplicate=True)


async def test_a_resend_within_48_hours_counts_once_though_its_date_is_two_days_later(river: River) -> None:
    first = NOW + 12 * HOUR - 10 * MINUTE  # 23:50
    line = make_line(event_id=ID, ts=first, received=first)
    await river.append([line])
    await river.consume()
    river.now = first + 47 * HOUR + 40 * MINUTE
    again = {"ts": river.now, "received": river.now, "attempt": 2}
    await river.append([line | again, make_line(event_id=str(uuid.UUID(int=6)), received=first, ts=first, attempt=2)])
    await river.consume()
    assert await river.positions("duplicates") == [(0, 1, 0)]
    await river.assert_ledger_closes()


async def test_an_ingest_key_beside_resends_gives_them_no_longer_time(river: River) -> None:
    line = make_line(event_id=ID, ingest=True)
    await river.append([line])
    await river.consume()
    river.now = NOW + 49 * HOUR
    again = make_line(event_id=ID, ts=river.now, received=river.now, attempt=2)
    other = make_line(event_id=str(uuid.UUID(int=6)), ingest=True, ts=river.now, received=river.now)
    await river.append([again, other])
    await river.consume()
    assert await river.positions("duplicates") == []


async def test_from_another_partition_it_counts_once(river: River) -> None:
    line = make_line(event_id=ID)
    await river.append([line], partition=1)
    await river.append([line | {"address": "192.0.2.9"}], partition=0)
    await river.consume()
    assert await river.positions() == [(0, 0, 0)]
    assert await river.positions("duplicates") == [(1, 0, 0)]


def to_ids(numbers: list[int]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
    return np.array(numbers, np.uint64)


def to_times(times: list[int]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.array(times, np.int64)


@given(
    batches=st.lists(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 3 * HOUR)), max_size=40), max_size=30),
    asked=st.lists(st.tuples(st.integers(1, 40), st.integers(0, 4 * HOUR)), max_size=40),
)
def test_lately_seen_knows_what_a_plain_list_knows(
    batches: list[list[tuple[int, int]]], asked: list[tuple[int, int]]
) -> None:
    lately = LatelySeen()
    for batch in batches:
        lately.add(to_ids([key for key, _ in batch]), to_times([received for _, received in batch]))
    known = [item for batch in batches for item in batch]
    expected = [
        any(other == key and stored // SPAN >= (received - HOUR) // SPAN for other, stored in known)
        for key, received in asked
    ]
    found = lately.find(to_ids([key for key, _ in asked]), to_times([received for _, received in asked]))
    assert found.tolist() == expected
    assert len(lately) == len(known)


def test_lately_seen_keeps_the_hour_before_what_may_still_come() -> None:
    lately = LatelySeen()
    lately.add(to_ids([1, 2]), to_times([NOW, NOW + 2 * HOUR]))
    lately.forget(NOW + HOUR)
    assert len(lately) == 2
    lately.forget(NOW + 2 * HOUR)
    assert lately.find(to_ids([1, 2]), to_times([NOW, NOW + 2 * HOUR])).tolist() == [False, True]


async def test_ids_that_memory_had_no_room_for_are_asked_of_the_warehouse(river: River) -> None:
    await river.append([make_line(event_id=ID)])
    await river.consume()
    lately = LatelySeen()
    lately.add(to_ids([1]), to_times([NOW + 3 * HOUR]))
    lately.forget(NOW + 9 * HOUR)
    received = to_times([NOW + 59 * MINUTE, NOW + 3 * HOUR])
    none = np.zeros(2, np.bool_)
    (stored,) = await river.rows("SELECT site_id, event_id FROM events")
    sends = Sends(
        np.full(2, stored["site_id"], np.int64), np.full(2, stored["event_id"], np.uint64), received, none, none
    )
    for at, expected in ((0, True), (1, False)):
        found = await Duplicates(river.warehouse, lately).find(sends.take(np.array([at])))
        assert found.tolist() == [expected]


def test_lately_seen_is_bounded_and_says_what_it_forgot() -> None:
    lately = LatelySeen(capacity=10)
    for span in range(5):
        lately.add(to_ids(list(range(span * 4, span * 4 + 4))), to_times([span * SPAN] * 4))
    assert len(lately) <= 10
    assert lately.forgotten_until == 3 * SPAN
