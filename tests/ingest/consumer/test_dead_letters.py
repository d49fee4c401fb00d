"""Dead letters: a bad line spoils no other, keeps its bytes in the log, and gets another try exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import stamina
from sqlalchemy import delete

from ingest.dead_letters import DeadLetterGoneError, DeadLetters
from ingest.enrich.pipeline import Enricher
from schemas.control import tables
from schemas.warehouse.errors import WarehouseError
from tests.ingest.consumer.rivers import NOW, OTHER_SITE, SITE, Crash, crash_at, make_line, make_sites

if TYPE_CHECKING:
    import pyarrow as pa

    from ingest.enrich.pipeline import Facts
    from tests.ingest.consumer.rivers import Line, River

CUT = b'{"site_id": 7, "received": %d, "url": "https' % NOW
BAD_LINES: dict[str, Line | bytes] = {
    "cut": CUT,
    "empty": b"",
    "no object": b"[1]",
    "two objects": b'{"site_id":7,"ts":1,"received":1,"url":"a"}{"site_id":7,"ts":1,"received":1,"url":"a"}',
    "not UTF-8": b'{"site_id": 7, "url": "\xff"}',
    "wrong type": make_line(ts="yesterday"),
    "no site": {name: value for name, value in make_line().items() if name != "site_id"},
    "no time": {name: value for name, value in make_line().items() if name != "ts"},
    "no receipt": {name: value for name, value in make_line().items() if name != "received"},
    "no url": make_line(url=""),
    "site too large": make_line(site_id=2**40),
    "year 40000": make_line(ts=1_200_000_000_000_000),
    "unknown zone": make_line(site_timezone="Mars/Olympus"),
    "unknown site": make_line(site_id=99),
}


@pytest.mark.parametrize("name", BAD_LINES)
async def test_a_bad_line_becomes_a_dead_letter_and_spoils_no_other(river: River, name: str) -> None:
    await river.append([make_line(), make_line()])
    await river.append([make_line(), BAD_LINES[name], make_line()])
    await river.append([make_line()], partition=1)
    await river.consume()
    assert await river.positions() == [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 2), (1, 0, 0)]
    assert await river.positions("dead_letters") == [(0, 1, 1)]
    await river.assert_ledger_closes()


async def test_the_bytes_stay_in_the_log_and_nowhere_else(river: River) -> None:
    await river.append([CUT])
    consumer = await river.consume()
    (letter,) = await consumer.dead_letters.list()
    assert (letter.site_id, letter.hour, letter.retried) == (SITE, NOW // 1000, False)
    assert letter.reason
    assert await consumer.dead_letters.read_line(letter.position) == CUT


@pytest.mark.parametrize("failpoint", ["events", "judged"])
async def test_a_replay_writes_no_letter_twice(river: River, failpoint: str) -> None:
    await river.append([make_line(), CUT, b"{"])
    with pytest.raises(Crash):
        await river.consume(crash_at(failpoint))
    consumer = await river.consume()
    assert len(await consumer.dead_letters.list()) == 2
    await river.assert_ledger_closes()


async def lose_and_find_a_site(river: River) -> DeadLetters:
    """A dead letter of a site that was gone and is there again."""
    async with river.control.begin() as connection:
        await connection.execute(delete(tables.sites).where(tables.sites.c.id == OTHER_SITE))
    await river.append([make_line(), make_line(site_id=OTHER_SITE, title="kept")])
    letters = (await river.consume()).dead_letters
    await make_sites(river.control, [OTHER_SITE])
    return letters


async def test_a_retried_line_is_stored_with_its_id_and_receipt_time(river: River) -> None:
    letters = await lose_and_find_a_site(river)
    await letters.retry((0, 0, 1))
    await river.consume()
    (row,) = await river.rows(
        "SELECT title, toUnixTimestamp64Milli(received) AS r, event_id FROM events WHERE title != ''"
    )
    assert (row["title"], row["r"]) == ("kept", NOW)
    assert row["event_id"]
    assert (await letters.list())[0].retried
    await river.assert_ledger_closes()


async def test_a_letter_retried_twice_is_stored_once(river: River) -> None:
    letters = await lose_and_find_a_site(river)
    await letters.retry((0, 0, 1))
    await letters.retry((0, 0, 1))
    await river.consume()
    await letters.retry((0, 0, 1))
    await river.consume()
    assert await river.positions() == [(0, 0, 0), (0, 1, 0)]
    assert await river.positions("duplicates") == []
    await river.assert_ledger_closes()


@pytest.mark.parametrize("failpoint", ["events", "judged", "receipts"])
async def test_a_crash_during_a_retry_changes_nothing(river: River, failpoint: str) -> None:
    letters = await lose_and_find_a_site(river)
    await letters.retry((0, 0, 1))
    with pytest.raises(Crash):
        await river.consume(crash_at(failpoint))
    await letters.retry((0, 0, 1))
    await river.consume()
    assert await river.positions() == [(0, 0, 0), (0, 1, 0)]
    await river.assert_ledger_closes()


async def test_a_line_that_fails_again_is_a_dead_letter_in_its_new_place(river: River) -> None:
    await river.append([make_line(), b"{"])
    letters = (await river.consume()).dead_letters
    await letters.retry((0, 0, 1))
    await river.consume()
    found = {letter.position: letter.retried for letter in await letters.list()}
    assert found == {(0, 0, 1): True, (0, 1, 0): False}
    await river.assert_ledger_closes()


async def test_a_letter_that_is_not_there_cannot_be_retried(river: River) -> None:
    letters = (await river.consume()).dead_letters
    with pytest.raises(DeadLetterGoneError, match="no dead letter at partition 0, offset 5, place 1"):
        await letters.retry((0, 5, 1))


async def test_a_letter_whose_bytes_are_gone_says_so(river: River) -> None:
    await river.append([CUT])
    letters = (await river.consume()).dead_letters
    await river.log.drop_older(NOW + 30 * 24 * 3_600_000)
    with pytest.raises(DeadLetterGoneError, match="retention has ended"):
        await letters.retry((0, 0, 0))


async def test_a_line_that_breaks_enrichment_spoils_no_other(river: River) -> None:
    def enrich(lines: pa.Table, facts: Facts) -> pa.Table:
        if "breaks" in lines.column("title").to_pylist():
            message = "192.0.2.1 broke"
            raise ZeroDivisionError(message)
        return Enricher.enrich(river.enricher, lines, facts)

    await river.append([make_line(), make_line(title="breaks"), make_line(), make_line()])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(river.enricher, "enrich", enrich)
        consumer = await river.consume()
    (letter,) = await consumer.dead_letters.list()
    assert (letter.position, letter.reason) == ((0, 0, 1), "enrichment failed: ZeroDivisionError")
    assert len(await river.positions()) == 3
    await river.assert_ledger_closes()


async def test_rows_that_the_engine_can_never_take_do_not_wedge_the_others(river: River) -> None:
    insert = river.warehouse.insert

    async def refuse_poison(table: str, rows: pa.Table, _fence: object = None) -> None:
        titles = rows.column("title").to_pylist() if "title" in rows.column_names else []
        if table in {"events", "probe"} and "poison" in titles:
            message = "cannot be read"
            raise WarehouseError(message)
        await insert(table, rows)

    await river.append([make_line(), make_line(title="poison"), make_line(), make_line()])
    with stamina.set_testing(testing=True, attempts=50, cap=True), pytest.MonkeyPatch.context() as patch:
        patch.setattr(river.warehouse, "insert", refuse_poison)
        consumer = await river.consume()
    (letter,) = await consumer.dead_letters.list()
    assert (letter.position, letter.reason) == ((0, 0, 1), "refused by the warehouse")
    assert len(await river.positions()) == 3
    await river.assert_ledger_closes()


async def test_a_warehouse_that_is_down_blames_no_row(river: River) -> None:
    insert, refusals = river.warehouse.insert, 0

    async def refuse_for_long(table: str, rows: pa.Table, _fence: object = None) -> None:
        nonlocal refusals
        refusals += 1
        if refusals < 30:
            message = "down"
            raise WarehouseError(message)
        await insert(table, rows)

    await river.append([make_line(), make_line()])
    with stamina.set_testing(testing=True, attempts=50, cap=True), pytest.MonkeyPatch.context() as patch:
        patch.setattr(river.warehouse, "insert", refuse_for_long)
        consumer = await river.consume()
    assert await consumer.dead_letters.list() == []
    assert len(await river.positions()) == 2
