"""The ledger closes: over what was consumed, what waits in the log, and what half landed between the two."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from query_api.ledger import read_ledger
from query_api.question import Range
from schemas.event import BlockHeaders, ReceiptCount, SiteId
from schemas.in_flight import InFlight, ReadInFlight
from schemas.warehouse.client import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from query_api.ledger import Ledger
    from query_api.question import Row
    from schemas.warehouse.client import Warehouse

HOUR = datetime(2026, 11, 21, 9, tzinfo=UTC)
EPOCH_HOUR = int(HOUR.timestamp())
DAY = Range(HOUR.replace(hour=0), HOUR.replace(hour=0) + timedelta(days=1))
SITE = SiteId(1)
LOG = 3


def nothing_waits() -> ReadInFlight:
    return in_flight(100, [])


def in_flight(position: int, headers: Sequence[BlockHeaders]) -> ReadInFlight:
    """Partition 0 wholly consumed, partition 1 up to `position` with these blocks behind it."""

    async def read() -> Sequence[InFlight]:
        return [InFlight(LOG, 0, 100, ()), InFlight(LOG, 1, position, tuple(headers))]

    return read


def block(*counts: tuple[str, int], site: SiteId = SITE, hour: int = EPOCH_HOUR) -> BlockHeaders:
    """A block that says so many records per reason; an empty reason counts all."""
    receipts = tuple(ReceiptCount(site, hour, reason, count) for reason, count in counts)
    return BlockHeaders(1, hour * 1000, hour * 1000, receipts)


async def consume(warehouse: Warehouse, position: int, counts: dict[str, int], log: int = LOG) -> None:
    """Receipts of one block in partition 1."""
    for reason, count in counts.items():
        sql = (
            "INSERT INTO receipts SELECT {site:UInt32}, {hour:DateTime('UTC')}, {log:UInt16}, 1, {offset:UInt64},"
            " {reason:String}, {count:UInt32}"
        )
        parameters = {"site": SITE, "hour": HOUR, "log": log, "offset": position, "reason": reason, "count": count}
        await warehouse.command(sql, parameters)


async def store(warehouse: Warehouse, position: int, *bots: str, log: int = LOG) -> None:
    """One event per entry of `bots` (empty is a person) of a block in partition 1."""
    for place, bot in enumerate(bots):
        sql = (
            "INSERT INTO events (site_id, local_date, visitor_id, ts, _log, _partition, _offset, _place, received,"
            " name, bot) SELECT {site:UInt32}, toDate({ts:DateTime('UTC')}), 1, {ts:DateTime('UTC')}, {log:UInt16}, 1,"
            " {offset:UInt64}, {place:UInt32}, {ts:DateTime('UTC')}, 'pageview', {bot:String}"
        )
        moment = HOUR + timedelta(minutes=59, seconds=59)
        parameters = {"site": SITE, "ts": moment, "log": log, "offset": position, "place": place, "bot": bot}
        await warehouse.command(sql, parameters)


async def set_aside(warehouse: Warehouse, table: str, position: int, place: int) -> None:
    """A row of `duplicates` or `dead_letters`."""
    values = f"(1, {EPOCH_HOUR}, {LOG}, 1, {position}, {place})"
    names = "site_id, hour, _log, _partition, _offset, _place"
    await warehouse.command(f"INSERT INTO {table} ({names}) VALUES {values}")  # noqa: S608 - the test's own numbers


async def note_retry(warehouse: Warehouse, position: int, place: int, anew: int) -> None:
    """A dead letter was appended again at `anew`."""
    values = f"(1, {EPOCH_HOUR}, {LOG}, 1, {position}, {place}, true, 1, {anew}, 2)"
    names = "site_id, hour, _log, _partition, _offset, _place, retried, retry_partition, retry_offset, version"
    await warehouse.command(f"INSERT INTO dead_letters ({names}) VALUES {values}")  # noqa: S608 - as above


async def read(warehouse: Warehouse, waiting: ReadInFlight, asked: Range = DAY) -> Ledger:
    return await read_ledger(warehouse, waiting, [SITE], asked, Limits())


def figures(row: Row) -> dict[str, object]:
    """A row without its zeros."""
    return {name: value for name, value in row.items() if value and name != "hour"}


async def test_every_outcome_has_its_column(warehouse: Warehouse) -> None:
    await consume(warehouse, 5, {"": 9, "hostname": 2, "bad_url": 1})
    await store(warehouse, 5, "", "", "ua")
    await set_aside(warehouse, "duplicates", 5, 3)
    await set_aside(warehouse, "dead_letters", 5, 4)
    await warehouse.command(
        "INSERT INTO erased (site_id, hour, erasure, records, bots) SELECT 1, {h:DateTime('UTC')}, 1, 1, 0", {"h": HOUR}
    )
    ledger = await read(warehouse, nothing_waits())
    assert ledger.closed
    assert ledger.rows == [
        {
            "hour": "2026-11-21T09:00:00Z",
            "received": 9,
            "stored": 2,
            "bots": 1,
            "duplicate": 1,
            "refused": {"bad_url": 1, "hostname": 2},
            "dead_lettered": 1,
            "in_flight": 0,
            "erased": 1,
        }
    ]


async def test_blocks_in_the_log_count_by_their_headers(warehouse: Warehouse) -> None:
    await consume(warehouse, 5, {"": 2})
    await store(warehouse, 5, "", "")
    waiting = in_flight(6, [block(("", 10), ("hostname", 3)), block(("", 1))])
    ledger = await read(warehouse, waiting)
    assert ledger.closed
    assert figures(ledger.rows[0]) == {"received": 13, "stored": 2, "refused": {"hostname": 3}, "in_flight": 8}


async def test_what_landed_of_an_unconsumed_block_is_in_flight(warehouse: Warehouse) -> None:
    await store(warehouse, 6, "", "ua")
    await set_aside(warehouse, "duplicates", 6, 2)
    await consume(warehouse, 6, {"": 4})
    ledger = await read(warehouse, in_flight(6, [block(("", 4))]))
    assert ledger.closed
    assert figures(ledger.rows[0]) == {"received": 4, "in_flight": 4}


async def test_rows_of_an_earlier_log_count_whatever_their_position(warehouse: Warehouse) -> None:
    await consume(warehouse, 50, {"": 1}, log=2)
    await store(warehouse, 50, "", log=2)
    ledger = await read(warehouse, in_flight(0, []))
    assert figures(ledger.rows[0]) == {"received": 1, "stored": 1}


async def test_a_replay_of_the_same_receipts_counts_once(warehouse: Warehouse) -> None:
    for _ in range(3):
        await consume(warehouse, 5, {"": 1})
        await set_aside(warehouse, "duplicates", 5, 0)
    ledger = await read(warehouse, nothing_waits())
    assert ledger.closed
    assert figures(ledger.rows[0]) == {"received": 1, "duplicate": 1}


@pytest.mark.parametrize(("position", "retried"), [(8, False), (9, True)])
async def test_a_retried_line_is_dead_until_its_new_place_is_consumed(
    warehouse: Warehouse, position: int, *, retried: bool
) -> None:
    await consume(warehouse, 5, {"": 1})
    await set_aside(warehouse, "dead_letters", 5, 0)
    await note_retry(warehouse, 5, 0, anew=8)
    await store(warehouse, 8, "")
    ledger = await read(warehouse, in_flight(position, []))
    assert ledger.closed
    assert figures(ledger.rows[0]) == {"received": 1} | ({"stored": 1} if retried else {"dead_lettered": 1})


async def test_an_erasure_counts_once_at_each_of_its_steps(warehouse: Warehouse) -> None:
    await consume(warehouse, 5, {"": 3})
    await store(warehouse, 5, "", "", "ua")
    steps = (
        "INSERT INTO erasing (erasure, site_id, month, hour, records, bots) SELECT 1, 1, 202611, {hour:UInt32}, 2, 1",
        "TRUNCATE TABLE events",
        "INSERT INTO erased (site_id, hour, erasure, records, bots) SELECT 1, {hour:UInt32}, 1, 2, 1",
        "TRUNCATE TABLE erasing",
    )
    for step in steps:
        await warehouse.command(step, {"hour": EPOCH_HOUR} if "hour" in step else {})
        ledger = await read(warehouse, nothing_waits())
        assert ledger.closed
        assert figures(ledger.rows[0]) == {"received": 3, "erased": 3}


async def test_what_lands_above_an_erasure_under_way_is_stored(warehouse: Warehouse) -> None:
    await consume(warehouse, 5, {"": 2})
    await store(warehouse, 5, "", "")
    await warehouse.command(
        "INSERT INTO erasing (erasure, site_id, month, hour, records, bots, _log, positions)"
        " SELECT 1, 1, 202611, {hour:UInt32}, 2, 0, {log:UInt16}, [0, 6]",
        {"hour": EPOCH_HOUR, "log": LOG},
    )
    await consume(warehouse, 6, {"": 1})
    await store(warehouse, 6, "")
    ledger = await read(warehouse, nothing_waits())
    assert ledger.closed
    assert figures(ledger.rows[0]) == {"received": 3, "stored": 1, "erased": 2}


async def test_a_lost_record_is_told(warehouse: Warehouse) -> None:
    await consume(warehouse, 5, {"": 2})
    await store(warehouse, 5, "")
    assert not (await read(warehouse, nothing_waits())).closed


async def test_two_wrongs_in_two_hours_do_not_make_it_close(warehouse: Warehouse) -> None:
    await consume(warehouse, 5, {"": 2})
    await store(warehouse, 5, "")
    later = in_flight(6, [block(("", 1), ("hostname", 2), hour=EPOCH_HOUR + 3600)])
    assert not (await read(warehouse, later)).closed


@pytest.mark.parametrize(
    ("start", "end", "rows"),
    [
        (HOUR, HOUR + timedelta(hours=1), 1),
        (HOUR + timedelta(minutes=59), HOUR + timedelta(hours=1), 1),  # a range touches whole hours
        (HOUR - timedelta(hours=1), HOUR, 0),
        (HOUR - timedelta(hours=1), HOUR + timedelta(milliseconds=1), 1),
        (HOUR + timedelta(hours=1), HOUR + timedelta(hours=2), 0),
    ],
)
async def test_whole_hours_of_receipt_are_told(warehouse: Warehouse, start: datetime, end: datetime, rows: int) -> None:
    await consume(warehouse, 5, {"": 1})
    await store(warehouse, 5, "")
    ledger = await read(warehouse, in_flight(6, [block(("", 1))]), Range(start, end))
    assert len(ledger.rows) == rows
    assert ledger.closed


async def test_other_sites_are_not_seen(warehouse: Warehouse) -> None:
    await consume(warehouse, 5, {"": 1})
    await store(warehouse, 5, "")
    waiting = in_flight(6, [block(("", 1), site=SiteId(2))])
    ledger = await read_ledger(warehouse, waiting, [SiteId(7)], DAY, Limits())
    assert ledger.rows == []
