"""A recount from the log: nothing to say of what is right, and every kind of wrong is named where it stands."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from ingest.copies import Copies
from ingest.log.sqlite_file import to_id
from ingest.problems import Problem, add_up
from ingest.progress import read_progress
from ingest.retention import Retention
from ingest.verifying import Verifier
from ingest.writer import no_failpoint
from schemas.event import SiteId
from tests.ingest.consumer.rivers import DAY, HOUR, NOW, OTHER_SITE, SITE, Crash, crash_at, make_line
from tests.ingest.consumer.test_copies import consume_apart

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.log import Bounds
    from tests.ingest.consumer.rivers import River

ALWAYS = range(2**32 - 1)
THIS_HOUR = NOW // HOUR * 3600
ID = "018f4e8a-0000-7000-8000-000000000001"


async def verify(river: River, hours: range = ALWAYS) -> tuple[int, list[Problem]]:
    """All pieces: how many lines, and what is wrong."""
    verifier = Verifier(river.warehouse, river.log, river.number)
    progress = await read_progress(river.warehouse, river.log, river.number, range(river.log.partitions))
    lines, problems = 0, list[Problem]()
    for partition, end in progress.begins.items():
        position: int | None = 0
        while position is not None:
            piece = await verifier.verify(partition, position, end, hours)
            lines, position = lines + piece.lines, piece.next
            problems += piece.problems
    return lines, add_up(problems)


async def fill(river: River) -> None:
    """Rows, a resend, a copy of another partition, a line that cannot be read, blocks of refusals; twelve lines."""
    await river.append([make_line(event_id=ID), *(make_line(site_id=OTHER_SITE) for _ in range(4)), b"{"])
    await river.append([make_line(event_id=ID), make_line()])
    await river.append([])
    await river.append([make_line(event_id=ID), *(make_line(received=NOW - 2 * HOUR) for _ in range(3))], 1)
    await consume_apart(river)


async def test_what_is_right_is_right(river: River) -> None:
    await fill(river)
    assert await verify(river) == (12, [])


async def test_rows_that_move_or_have_moved_are_right(river: River) -> None:
    await fill(river)
    positions = (await read_progress(river.warehouse, river.log, river.number, [0, 1])).begins
    for failpoint in ("noted", "inserted", "deleted"):
        copies = Copies(river.warehouse, river.control, river.number, crash_at(failpoint))
        with pytest.raises(Crash):
            await copies.move(positions, river.now)
        assert await verify(river) == (12, [])
    await Copies(river.warehouse, river.control, river.number).move(positions, river.now)
    assert await verify(river) == (12, [])


async def test_retries_are_right(river: River) -> None:
    await fill(river)
    consumer = await river.consume()
    await consumer.dead_letters.retry((0, 0, 5))
    await consumer.dead_letters.retry((0, 0, 5))
    await river.consume()
    assert await verify(river) == (14, [])


@pytest.mark.parametrize("failpoint", ["", "counted", "deleted", "moved"])
async def test_rows_that_were_erased_are_gone_on_purpose(river: River, failpoint: str) -> None:
    await fill(river)
    retention = Retention(river.warehouse, river.control, river.versions, river.clock, crash_at(failpoint))
    if failpoint:
        with pytest.raises(Crash):
            await retention.erase(SiteId(OTHER_SITE), 202611)
    else:
        await retention.erase(SiteId(OTHER_SITE), 202611)
    assert await verify(river) == (12, [])


WRONG: Mapping[str, tuple[str, Problem]] = {
    "a row is lost": (
        "DELETE FROM events WHERE _partition = 0 AND _offset = 0 AND _place IN (2, 3)",
        Problem("missing", 2, ["0:0:2", "0:0:3"], OTHER_SITE, THIS_HOUR),
    ),
    "a row is there twice": (
        "INSERT INTO events SELECT * FROM events WHERE _offset = 1",
        Problem("doubled", 1, ["0:1:1"]),
    ),
    "a row is a duplicate too": (
        "INSERT INTO duplicates SELECT site_id, toStartOfHour(received), _log, 0, 1, 1 FROM events WHERE _offset = 1",
        Problem("torn", 1, ["0:1:1"]),
    ),
    "a row stands where nothing is": (
        "INSERT INTO events SELECT * REPLACE (77 AS _place) FROM events WHERE _offset = 1",
        Problem("foreign", 1, ["0:1:77"]),
    ),
    "a receipt says something else": (
        "INSERT INTO receipts SELECT * REPLACE (records + 1 AS records) FROM receipts WHERE _offset = 1",
        Problem("receipts", 1, ["0:1"]),
    ),
    "a receipt is lost": ("DELETE FROM receipts WHERE _partition = 1", Problem("receipts", 1, ["1:0"])),
    "a dead letter is lost": ("DELETE FROM dead_letters WHERE 1", Problem("missing", 1, ["0:0:5"], 0, THIS_HOUR)),
}


@pytest.mark.parametrize("name", WRONG)
async def test_what_is_wrong_is_named(river: River, name: str) -> None:
    await fill(river)
    sql, problem = WRONG[name]
    if "lost" in name and "receipt" in name:  # the end must not move, or nothing would be expected
        await river.append([make_line()], 1)
        await consume_apart(river)
        sql += " AND _offset = 0"
    await river.warehouse.command(sql)
    _lines, problems = await verify(river)
    assert problems == [problem]


async def test_more_that_is_missing_than_was_erased_is_named(river: River) -> None:
    await fill(river)
    retention = Retention(river.warehouse, river.control, river.versions, river.clock, no_failpoint)
    await retention.erase(SiteId(OTHER_SITE), 202611)
    await river.warehouse.command("ALTER TABLE erased UPDATE records = records - 1 WHERE 1 SETTINGS mutations_sync = 2")
    _lines, problems = await verify(river)
    examples = [f"0:0:{place}" for place in range(1, 5)]
    assert problems == [Problem("missing", 4, examples, OTHER_SITE, THIS_HOUR, 3)]


async def test_blocks_of_other_hours_are_left_out(river: River) -> None:
    await fill(river)
    lines, problems = await verify(river, range(THIS_HOUR - 7200, THIS_HOUR - 3600))
    assert (lines, problems) == (4, [])
    assert await verify(river, range(THIS_HOUR - 8 * 3600, THIS_HOUR - 7 * 3600)) == (0, [])


async def test_a_block_with_fewer_lines_than_it_says_is_named(river: River) -> None:
    headers, body = (await river.log.read(0, await river.append([make_line(), make_line()]), 1))[0].headers, b"{}\n"
    await river.log.append(0, headers, body)
    await river.consume()
    assert Problem("lines", 1, ["0:1"]) in (await verify(river))[1]


def damage(river: River, *positions: int) -> None:
    """Headers of these blocks of the first partition cannot be read any more."""
    with closing(sqlite3.connect(river.folder / "log.db")) as connection, connection:
        rows = [(to_id(0, position),) for position in positions]
        connection.executemany("UPDATE records SET headers = X'7B' WHERE id = ?", rows)


@pytest.mark.parametrize("positions", [[0], [1], [0, 1, 2]])
async def test_a_damaged_block_is_named_and_all_others_are_looked_at(river: River, positions: list[int]) -> None:
    await fill(river)
    lines = [6, 2, 0]
    damage(river, *positions)
    unreadable = Problem("unreadable", len(positions), [f"0:{position}" for position in positions])
    assert await verify(river) == (12 - sum(lines[position] for position in positions), [unreadable])


async def test_what_the_log_lets_go_of_meanwhile_is_no_damage(river: River, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(river)
    before = await river.log.bounds(0)
    await river.log.trim(0, before.end)
    await river.log.drop_older(NOW + 2 * DAY)
    known = [before]
    bounds = river.log.bounds

    async def read_bounds(partition: int) -> Bounds:
        return known.pop() if known and partition == 0 else await bounds(partition)

    monkeypatch.setattr(river.log, "bounds", read_bounds)
    verifier = Verifier(river.warehouse, river.log, river.number)
    piece = await verifier.verify(0, 0, before.end, ALWAYS)
    assert (piece.next, piece.problems) == (1, ())


async def test_a_long_log_is_read_piece_by_piece(river: River, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.verifying.READ_BYTES", 1)
    await fill(river)
    assert await verify(river) == (12, [])
    await river.warehouse.command("DELETE FROM events WHERE site_id = {site:UInt32}", {"site": SITE})
    _lines, problems = await verify(river)
    assert [(problem.kind, problem.records) for problem in problems] == [("missing", 3), ("missing", 3)]
