"""The consumer: from blocks to rows, told to whom it may concern, waiting for what is not there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import stamina
from sqlalchemy import delete, update

from ingest import consumer as consumer_module
from ingest.duplicates import Duplicates
from ingest.lately_seen import LatelySeen
from ingest.log import LogDamagedError
from ingest.logs import adopt_log
from ingest.salts import Salts
from ingest.unconsumed import Unconsumed
from ingest.upkeep import Upkeep
from ingest.writer import without_empty_columns
from schemas.control import tables
from schemas.event import BlockHeaders, SiteId
from schemas.warehouse.errors import WarehouseError
from tests.ingest.consumer.rivers import DAY, HOUR, NOW, OTHER_SITE, SITE, make_line, until
from tests.ingest.enrich.make import make_facts, share_enricher, to_lines
from tests.ingest.enrich.make import make_line as make_page

if TYPE_CHECKING:
    import pyarrow as pa

    from tests.ingest.consumer.rivers import River


async def test_an_event_becomes_a_row(river: River) -> None:
    await river.append([make_line(url="https://www.example.org/a?utm_source=x", title="A")])
    await river.consume()
    (row,) = await river.rows("SELECT * FROM events")
    assert (row["pathname"], row["hostname"], row["utm_source"], row["title"]) == ("/a", "example.org", "x", "A")
    assert (row["_log"], row["_partition"], row["_offset"], row["_place"]) == (river.number, 0, 0, 0)
    await river.assert_ledger_closes()


async def test_a_column_that_says_nothing_is_stored_as_if_it_had_been_written(river: River) -> None:
    lines = to_lines(make_page(), make_page(name="signup", scroll_depth=0))
    rows = share_enricher().enrich(lines, make_facts(lines))
    least = without_empty_columns(rows)
    assert not {"title", "utm_source", "country", "props"} & {*least.column_names}
    await river.warehouse.insert("events", rows)
    await river.warehouse.insert("events", least)
    stored = await river.rows("SELECT * FROM events ORDER BY _place")
    assert stored[::2] == stored[1::2]
    full = to_lines(make_page(title="A", props='{"a":1}'), make_page())
    assert {"title", "props"} <= {*without_empty_columns(share_enricher().enrich(full, make_facts(full))).column_names}


async def test_place_is_the_line_in_its_block_and_offset_the_block_in_its_partition(river: River) -> None:
    await river.append([make_line(), make_line()])
    await river.append([make_line()])
    await river.append([make_line(), make_line(), make_line()], partition=1)
    await river.consume()
    assert await river.positions() == [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (1, 0, 1), (1, 0, 2)]


async def test_the_log_is_told_what_was_consumed(river: River) -> None:
    await river.append([make_line()])
    await river.append([make_line()])
    await river.consume()
    assert (await river.log.committed())[0] == 2


async def test_a_block_of_refusals_alone_is_consumed(river: River) -> None:
    await river.log.append(0, BlockHeaders(0, NOW, NOW, ()), b"")
    await river.consume()
    assert await river.positions() == []


async def test_a_second_run_changes_nothing(river: River) -> None:
    await river.append([make_line(), make_line(ts=NOW - DAY)])
    await river.consume()
    before = await river.rows("SELECT * FROM events ORDER BY ALL")
    await river.append([make_line()])
    await river.consume()
    await river.consume()
    after = await river.rows("SELECT * FROM events WHERE _offset = 0 ORDER BY ALL")
    assert before == after
    assert len(await river.positions()) == 3


async def test_listeners_hear_which_sites_have_new_rows_after_they_can_be_read(river: River) -> None:
    heard: list[tuple[frozenset[SiteId], int]] = []
    await river.append([make_line(), make_line(site_id=OTHER_SITE, received=NOW + 5)])
    consumer, stop = river.make_consumer(), asyncio.Event()
    consumer.listen(lambda sites, received: heard.append((sites, received)))
    consumer.listen(lambda _sites, _received: stop.set())
    await consumer.run(stop)
    assert heard == [(frozenset({SiteId(SITE), SiteId(OTHER_SITE)}), NOW + 5)]
    assert river.versions.of(SiteId(SITE)) == 1 == river.versions.of(SiteId(OTHER_SITE))


async def test_completeness_is_the_oldest_acknowledged_event_that_has_not_landed(river: River) -> None:
    consumer = await river.consume()
    river.now = NOW + 5000
    assert (await consumer.completeness()).received_up_to == NOW + 5000
    await river.append([make_line(received=NOW + 3000)])
    await river.append([make_line(received=NOW + 1000)], partition=1)
    waiting = await consumer.completeness()
    assert (waiting.received_up_to, waiting.lag, waiting.exact) == (NOW + 1000, 4.0, True)
    consumer = await river.consume()
    assert (await consumer.completeness()).lag == 0


async def test_without_a_salt_the_consumer_waits_and_says_so(river: River) -> None:
    await river.append([make_line()])
    async with river.control.begin() as connection:
        await connection.exec_driver_sql("ALTER TABLE salts RENAME TO hidden")
    consumer, stop = river.make_consumer(), asyncio.Event()
    with stamina.set_testing(testing=True, attempts=10**6, cap=True):
        running = asyncio.create_task(consumer.run(stop))
        await until(lambda: consumer.state == "waiting-for-facts")
        assert await river.positions() == []
        async with river.control.begin() as connection:
            await connection.exec_driver_sql("ALTER TABLE hidden RENAME TO salts")
        consumer.listen(lambda _sites, _received: stop.set())
        await running
    assert len(await river.positions()) == 1


async def test_an_event_of_yesterday_and_one_of_two_days_ago_find_their_salts(river: River) -> None:
    await river.append([make_line(ts=NOW - 47 * HOUR), make_line(ts=NOW - DAY), make_line()])
    await river.consume()
    rows = await river.rows("SELECT DISTINCT visitor_id FROM events")
    assert len(rows) == 3


async def test_an_old_date_is_for_ingest_keys_alone(river: River) -> None:
    await river.append([make_line(ts=NOW - 900 * DAY, ingest=True), make_line(ts=NOW - 800 * DAY)])
    consumer = await river.consume()
    assert await river.positions() == [(0, 0, 0)]
    (letter,) = await consumer.dead_letters.list()
    assert letter.reason == "the salt of its date is destroyed"
    await river.assert_ledger_closes()


async def test_a_log_that_ends_below_its_mark_is_refused_and_can_be_adopted(river: River) -> None:
    await river.append([make_line()])
    await river.append([make_line()])
    await river.consume()
    async with river.control.begin() as connection:  # a restored log: another file that says it is the same
        await connection.execute(
            update(tables.logs).where(tables.logs.c.id == river.number).values(identity="restored")
        )
    await river.log.close()
    number = river.number
    (river.folder / "log.db").unlink()
    river = await river.reopen()
    await river.append([make_line()])
    river.number = number
    with pytest.raises(LogDamagedError, match="pulse log adopt"):
        await river.consume()
    river.number = await adopt_log(river.control, "restored", river.clock)
    assert river.number != number
    await river.consume()
    assert len(await river.positions()) == 3
    await river.log.close()


async def test_stop_lands_what_was_gathered(river: River) -> None:
    await river.append([make_line()])
    consumer, stop = river.make_consumer(), asyncio.Event()
    stop.set()
    await consumer.run(stop)
    assert len(await river.positions()) == 1
    assert consumer.state == "stopped"


async def test_over_its_disk_budget_the_warehouse_takes_nothing_and_the_log_goes_on(river: River) -> None:
    await river.append([make_line()])
    await river.consume()
    river.budget = 1
    await river.append([make_line()])
    consumer, stop = river.make_consumer(), asyncio.Event()
    running = asyncio.create_task(consumer.run(stop))
    await until(lambda: consumer.state == "over-budget")
    await river.append([make_line()])
    stop.set()
    await running
    assert len(await river.positions()) == 1
    river.budget = 0
    await river.consume()
    assert len(await river.positions()) == 3


async def test_a_site_deleted_meanwhile_makes_dead_letters(river: River) -> None:
    async with river.control.begin() as connection:
        await connection.execute(delete(tables.sites).where(tables.sites.c.id == OTHER_SITE))
    await river.append([make_line(), make_line(site_id=OTHER_SITE), make_line()])
    consumer = await river.consume()
    (letter,) = await consumer.dead_letters.list()
    assert (letter.position, letter.reason, letter.site_id) == ((0, 0, 1), "the site is unknown", OTHER_SITE)
    assert len(await river.positions()) == 2
    await river.assert_ledger_closes()


async def test_a_consumer_that_cannot_finish_gives_up_and_loses_nothing(
    river: River, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_module, "DRAIN_SECONDS", 0.1)
    await river.append([make_line()])
    consumer, stop = river.make_consumer(), asyncio.Event()

    async def refuse(_table: str, _rows: pa.Table, _fence: object = None) -> None:
        stop.set()
        message = "down"
        raise WarehouseError(message)

    with stamina.set_testing(testing=True, attempts=10**6, cap=True), monkeypatch.context() as patch:
        patch.setattr(river.warehouse, "insert", refuse)
        await consumer.run(stop)
    assert await river.positions() == []
    await river.consume()
    assert await river.positions() == [(0, 0, 0)]


async def test_completeness_is_told_before_a_consumer_has_started(river: River) -> None:
    await river.append([make_line(received=NOW - 4000)])
    assert (await river.make_consumer().completeness()).lag == 4


async def test_salts_are_kept_while_the_log_holds_an_unconsumed_event_and_then_destroyed(river: River) -> None:
    await Salts(river.control, river.clock).make_ahead()
    await river.append([make_line()])
    river.now = NOW + 30 * DAY
    async with river.control.begin() as connection:
        before = (await connection.execute(tables.salts.select())).all()
    consumer = await river.consume()
    assert await river.positions() == [(0, 0, 0)]
    unconsumed = Unconsumed(river.log)
    unconsumed.positions = consumer.consumed
    duplicates = Duplicates(river.warehouse, LatelySeen())
    await Upkeep(unconsumed, duplicates, Salts(river.control, river.clock), river.clock).do()
    async with river.control.begin() as connection:
        after = (await connection.execute(tables.salts.select())).all()
    assert before
    assert not {row.day for row in before} & {row.day for row in after}
