"""Copies in partitions of different consumers: each counts once in the end, the ledger closes at every moment."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from ingest.consumer_metrics import ConsumerMetrics
from ingest.copies import Copies, is_exact, read_checked
from ingest.copy_rule import Stored, find_copies
from ingest.disk import DiskBudget
from ingest.lately_seen import SPAN
from ingest.preparing import Sources
from ingest.progress import read_progress
from ingest.retention import Retention
from ingest.salts import Salts
from ingest.site_facts import SiteFactsReader
from ingest.stint import Hooks, Parts, Stint
from ingest.writer import no_failpoint
from query_api.ledger import read_ledger
from query_api.question import Range
from schemas.event import BlockHeaders, SiteId
from schemas.in_flight import InFlight
from schemas.warehouse.client import Limits
from tests.ingest.consumer.rivers import DAY, HOUR, NOW, OTHER_SITE, SITE, Crash, crash_at, make_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from query_api.ledger import Ledger
    from tests.ingest.consumer.rivers import River

ID = "018f4e8a-0000-7000-8000-000000000001"
WRITES = ["noted", "inserted", "deleted", "forgotten"]


class FixedShare:
    """Partitions that nobody else wants."""

    def __init__(self, partitions: Sequence[int]) -> None:
        self.partitions = partitions
        self.ended = asyncio.Event()

    async def commit(self, positions: Mapping[int, int]) -> None:
        """Nothing: who asks reads the receipts."""

    def release(self) -> None:
        """Nothing."""


async def consume(river: River, *partitions: int) -> None:
    """A consumer of these partitions alone, until it has landed what there is."""
    sources = Sources(SiteFactsReader(river.control), Salts(river.control, river.clock), lambda: None, river.clock)
    disk = DiskBudget(river.warehouse, river.folder, 0, river.clock)
    metrics = ConsumerMetrics(CollectorRegistry())
    parts = Parts(river.log, river.number, river.warehouse, sources, river.enricher, disk, river.versions, metrics)
    closing = asyncio.Event()
    closing.set()
    hooks = Hooks(no_failpoint, lambda _landing: None, asyncio.Lock())
    await Stint(parts, FixedShare(partitions), closing, river.sizes, hooks).run()


async def consume_apart(river: River) -> None:
    """A consumer for each partition."""
    for partition in range(river.log.partitions):
        await consume(river, partition)


async def find_positions(river: River) -> Mapping[int, int]:
    return (await read_progress(river.warehouse, river.log, river.number, range(river.log.partitions))).begins


def make_copies(river: River, failpoint: Callable[[str], None] = no_failpoint) -> Copies:
    return Copies(river.warehouse, river.control, river.number, failpoint)


async def move(river: River, failpoint: Callable[[str], None] = no_failpoint) -> int:
    """One look; say how many rows have moved."""
    return (await make_copies(river, failpoint).move(await find_positions(river), river.now)).records


async def read(river: River) -> Ledger:
    """The ledger as everybody is told it."""
    positions = await find_positions(river)

    async def read_in_flight() -> Sequence[InFlight]:
        return [InFlight(river.number, partition, position, ()) for partition, position in positions.items()]

    asked = Range(datetime.fromtimestamp((NOW - 3 * DAY) / 1000, UTC), datetime.fromtimestamp((NOW + DAY) / 1000, UTC))
    return await read_ledger(river.warehouse, read_in_flight, [SiteId(SITE), SiteId(OTHER_SITE)], asked, Limits())


async def count(river: River, *names: str) -> list[int]:
    """Figures of the ledger over all hours; it must close."""
    ledger = await read(river)
    assert ledger.closed, ledger.rows
    return [sum(int(str(row[name])) for row in ledger.rows) for name in names]


async def test_the_later_copy_of_another_partition_becomes_a_duplicate(river: River) -> None:
    await river.append([make_line(event_id=ID, received=NOW - 60_000)], 1)
    await river.append([make_line(event_id=ID, received=NOW, address="192.0.2.9"), make_line()], 0)
    await consume_apart(river)
    assert await river.positions() == [(0, 0, 0), (0, 0, 1), (1, 0, 0)]
    assert await move(river) == 1
    assert await river.positions() == [(0, 0, 1), (1, 0, 0)]
    assert await river.positions("duplicates") == [(0, 0, 0)]
    assert await count(river, "stored", "duplicate") == [2, 1]
    await river.assert_ledger_closes()


async def test_the_first_look_goes_back_to_the_first_block(river: River) -> None:
    for partition in (0, 1):
        await river.append([make_line(event_id=ID, received=NOW - 10 * HOUR)], partition)
    await consume_apart(river)
    assert await move(river) == 1
    assert await river.positions("duplicates") == [(1, 0, 0)]


async def test_a_first_look_before_anything_was_consumed_misses_nothing_later(river: River) -> None:
    assert await move(river) == 0
    for partition in (0, 1):
        await river.append([make_line(event_id=ID)], partition)
    await consume_apart(river)
    assert await move(river) == 1


async def test_a_first_look_at_a_receipt_time_of_long_ago_is_possible(river: River) -> None:
    await river.log.append(0, BlockHeaders(0, 0, 0, ()), b"")
    for partition in (0, 1):
        await river.append([make_line(event_id=ID)], partition)
    await consume_apart(river)
    assert await move(river) == 1


@pytest.mark.usefixtures("dates_as_numbers")
async def test_a_copy_moves_on_a_server_that_gives_dates_as_numbers(river: River) -> None:
    for partition in (0, 1):
        await river.append([make_line(event_id=ID)], partition)
    await consume_apart(river)
    assert await move(river) == 1
    assert await river.positions("duplicates") == [(1, 0, 0)]
    await river.assert_ledger_closes()


async def test_the_copy_that_landed_first_moves_when_the_earlier_one_comes(river: River) -> None:
    await river.append([make_line(event_id=ID, received=NOW - 60_000)], 1)
    await river.append([make_line(event_id=ID, received=NOW)], 0)
    await consume(river, 0)
    assert await move(river) == 0
    await consume(river, 1)
    assert await move(river) == 1
    assert await river.positions("duplicates") == [(0, 0, 0)]


@pytest.mark.parametrize(
    "line",
    [
        {"event_id": ""},
        {"event_id": ID, "site_id": OTHER_SITE},
        {"event_id": "018f4e8a-0000-7000-8000-000000000002"},
    ],
)
async def test_others_stay(river: River, line: dict[str, object]) -> None:
    await river.append([make_line(event_id=ID if line["event_id"] else "")], 1)
    await river.append([make_line(**line)], 0)
    await consume_apart(river)
    assert await move(river) == 0
    assert len(await river.positions()) == 2


async def test_rows_that_were_looked_at_before_are_found_again_within_the_hour(river: River) -> None:
    await river.append([make_line(event_id=ID, received=NOW - HOUR + 1000)], 0)
    await consume_apart(river)
    assert await move(river) == 0
    await river.append([make_line(event_id=ID, received=NOW)], 1)
    await consume_apart(river)
    assert await move(river) == 1


async def test_whoever_asks_is_told_how_far_it_has_come_and_of_which_sites(river: River) -> None:
    nothing = await read_checked(river.control, river.number)
    assert nothing is None
    assert not is_exact(nothing, {0: 0})
    for partition in (0, 1):
        await river.append([make_line(event_id=ID)], partition)
    await consume_apart(river)
    before = await find_positions(river)
    await move(river)
    await river.append([make_line()], 1)
    await consume_apart(river)
    checked = await read_checked(river.control, river.number)
    assert checked is not None
    assert (checked.look, checked.sites) == (0, frozenset({SiteId(SITE)}))
    assert is_exact(checked, before)
    assert not is_exact(checked, await find_positions(river))
    await move(river)
    checked = await read_checked(river.control, river.number)
    assert checked is not None
    assert (checked.look, checked.sites) == (1, frozenset[SiteId]())
    assert is_exact(checked, await find_positions(river))


async def fill(river: River) -> None:
    """Ten copies of two sites, a bot among them, and what is none."""
    ids = [f"018f4e8a-0000-7000-8000-00000000000{number}" for number in range(10)]
    lines = [make_line(event_id=name, site_id=(SITE, OTHER_SITE)[place % 2]) for place, name in enumerate(ids)]
    lines[3]["user_agent"] = "Googlebot/2.1 (+http://www.google.com/bot.html)"
    await river.append([*lines, make_line()], 0)
    await river.append([make_line(), *(line | {"received": NOW + 1000} for line in lines)], 1)
    await consume_apart(river)


@pytest.mark.parametrize("failpoint", WRITES)
async def test_a_crash_leaves_the_ledger_closed_and_the_next_look_finishes(river: River, failpoint: str) -> None:
    await fill(river)
    with pytest.raises(Crash):
        await move(river, crash_at(failpoint))
    assert await count(river, "stored", "bots", "duplicate") == [11, 1, 10]
    await move(river)
    assert await count(river, "stored", "bots", "duplicate") == [11, 1, 10]
    assert [position[0] for position in await river.positions("duplicates")] == [1] * 10
    assert len(await river.positions()) == 12
    assert await river.rows("SELECT count() AS left FROM moving") == [{"left": 0}]
    await river.assert_ledger_closes()


@pytest.mark.parametrize("failpoint", WRITES)
async def test_two_processes_at_once_do_no_harm(river: River, failpoint: str) -> None:
    await fill(river)
    positions = await find_positions(river)
    with pytest.raises(Crash):  # the other one goes on where this one stands still
        await move(river, crash_at(failpoint))
    looks = [make_copies(river).move(positions, river.now) for _ in range(2)]
    await asyncio.gather(*looks)
    assert await count(river, "stored", "bots", "duplicate") == [11, 1, 10]
    assert len(await river.positions()) == 12
    await river.assert_ledger_closes()


@pytest.mark.parametrize("failpoint", WRITES[:3])
async def test_an_erasure_after_a_crash_counts_nothing_twice(river: River, failpoint: str) -> None:
    await fill(river)
    with pytest.raises(Crash):
        await move(river, crash_at(failpoint))
    retention = Retention(river.warehouse, river.control, river.versions, river.clock, no_failpoint)
    await retention.erase(SiteId(SITE), 202611)
    assert await count(river, "stored", "bots", "duplicate", "erased") == [4, 1, 10, 7]
    await move(river)
    assert await count(river, "stored", "bots", "duplicate", "erased") == [4, 1, 10, 7]
    await river.assert_ledger_closes()


async def test_rows_of_a_month_that_is_being_erased_do_not_move(river: River) -> None:
    await fill(river)
    retention = Retention(river.warehouse, river.control, river.versions, river.clock, crash_at("counted"))
    with pytest.raises(Crash):
        await retention.erase(SiteId(SITE), 202611)
    assert await move(river) == 5
    await Retention(river.warehouse, river.control, river.versions, river.clock, no_failpoint).resume()
    assert await count(river, "stored", "bots", "duplicate") == [4, 1, 5]
    await river.assert_ledger_closes()


async def test_many_copies_go_in_pieces(river: River, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.copies.IDS_AT_ONCE", 3)
    monkeypatch.setattr("ingest.copies.MOVED_AT_ONCE", 2)
    await fill(river)
    assert await move(river) == 10
    assert await count(river, "stored", "bots", "duplicate") == [11, 1, 10]


rows = st.builds(
    Stored,
    received=st.integers(0, 60).map(lambda spans: NOW + spans * SPAN),
    log=st.just(1),
    partition=st.integers(0, 2),
    offset=st.integers(0, 10_000),
    place=st.just(0),
    local_date=st.just(datetime.fromtimestamp(NOW / 1000, UTC).date()),
    ingest=st.sampled_from([False, False, True]),
    fresh=st.booleans(),
)


def find_slowly(found: Sequence[Stored]) -> set[Stored]:
    """The rule once more, row by row: near an earlier one that stays, from a server, or landed beside one."""
    stays: set[Stored] = set()
    for row in sorted(found):
        lowest = (row.received - HOUR) // SPAN * SPAN
        near = any(one.received >= lowest or row.ingest for one in stays)
        raced = any(row.fresh and one.fresh and row.partition != one.partition for one in stays)
        if not near and not raced:
            stays.add(row)
    return set(found) - stays


@given(st.lists(rows, max_size=12, unique_by=lambda row: row.position))
def test_the_rule_is_that_of_the_model(found: list[Stored]) -> None:
    copies = find_copies(found)
    assert set(copies) == find_slowly(found)
    assert len(copies) == len(set(copies))


@given(st.lists(rows, min_size=1, max_size=12, unique_by=lambda row: row.position), st.data())
def test_one_always_stays_whoever_decides(found: list[Stored], data: st.DataObject) -> None:
    some = data.draw(st.lists(st.sampled_from(found), unique_by=lambda row: row.position))
    moved = {copy.position for copy in (*find_copies(found), *find_copies(some))}
    assert min(found).position not in moved
