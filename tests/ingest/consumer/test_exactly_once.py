"""Every event is stored once, wherever the process ends and whatever the batches are."""

from __future__ import annotations

import random
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import stamina
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ingest.gathering import Sizes
from ingest.log import LogDamagedError
from schemas.warehouse.errors import WarehouseError
from tests.ingest.consumer.rivers import (
    DAY,
    NOW,
    OTHER_SITE,
    SITE,
    Crash,
    crash_at,
    make_line,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from schemas.warehouse.fence import Fence
    from tests.ingest.consumer.rivers import Line, River

MONTH = 31 * DAY
FAILPOINTS = ["month", "events", "judged", "receipts", "committed"]


def make_mixed_lines() -> list[Line | bytes]:
    """Three months, a resend of each kind, a line that cannot be read, one of an unknown site."""
    first, second, old = (str(uuid.uuid4()) for _ in range(3))
    return [
        make_line(event_id=first),
        make_line(event_id=second, ts=NOW - MONTH, ingest=True),
        make_line(event_id=first),
        make_line(event_id=old, ts=NOW - 2 * MONTH, ingest=True, site_id=OTHER_SITE),
        b'{"site_id": 7, "received": %d, "url"' % NOW,
        make_line(event_id=second, ts=NOW - MONTH, ingest=True),
        make_line(site_id=99),
        make_line(event_id=old, ts=NOW - 2 * MONTH + 1, attempt=2, ingest=True, site_id=OTHER_SITE),
        make_line(event_id=""),
        make_line(event_id=""),
        make_line(event_id=first, attempt=2, ts=NOW - 22 * DAY, ingest=True),
    ]


STORED = [(0, 0, 0), (0, 0, 1), (0, 0, 3), (0, 0, 8), (0, 0, 9)]
REPEATED = [(0, 0, 2), (0, 0, 5), (0, 0, 7), (0, 0, 10)]
DEAD = [(0, 0, 4), (0, 0, 6)]


async def assert_all_is_there_once(river: River) -> None:
    assert await river.positions() == STORED
    assert await river.positions("duplicates") == REPEATED
    assert await river.positions("dead_letters") == DEAD
    await river.assert_ledger_closes()


@pytest.mark.parametrize("failpoint", FAILPOINTS)
async def test_a_crash_between_two_writes_changes_nothing(river: River, failpoint: str) -> None:
    await river.append(make_mixed_lines())
    with pytest.raises(Crash):
        await river.consume(crash_at(failpoint))
    await river.consume()
    await assert_all_is_there_once(river)


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_crash_after_any_month_leaves_no_month_half(river: River, times: int) -> None:
    await river.append(make_mixed_lines())
    with pytest.raises(Crash):
        await river.consume(crash_at("month", times))
    with pytest.raises(Crash):
        await river.consume(crash_at("events"))
    await river.consume()
    await assert_all_is_there_once(river)


async def test_what_came_after_a_crash_does_not_change_the_batch_that_was_cut_short(river: River) -> None:
    resent = str(uuid.uuid4())
    await river.append([make_line(), make_line(event_id=resent, ts=NOW - MONTH, ingest=True)], partition=1)
    with pytest.raises(Crash):
        await river.consume(crash_at("month"))
    await river.append([make_line(event_id=resent, ts=NOW - MONTH, ingest=True), make_line()])
    await river.consume()
    assert await river.positions() == [(0, 0, 1), (1, 0, 0), (1, 0, 1)]
    assert await river.positions("duplicates") == [(0, 0, 0)]
    await river.assert_ledger_closes()


async def test_a_log_that_ends_within_a_batch_that_was_cut_short_is_refused(
    river: River, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        await river.append([make_line(), make_line(ts=NOW - MONTH, ingest=True)])
    insert = river.warehouse.insert

    async def insert_no_event(table: str, rows: pa.Table, fence: Fence | None = None) -> None:
        if table == "events":
            raise Crash(table)
        await insert(table, rows, fence)

    monkeypatch.setattr(river.warehouse, "insert", insert_no_event)
    with pytest.raises(Crash):
        await river.consume()
    assert await river.rows("SELECT ends FROM batches") == [{"ends": [3, 0]}]
    await river.log.close()
    (river.folder / "log.db").unlink()
    restored = await river.reopen()
    await restored.append([make_line()])
    with pytest.raises(LogDamagedError, match="pulse log adopt"):
        await restored.consume()
    await restored.log.close()


async def test_a_row_is_not_its_own_duplicate_after_a_crash(river: River) -> None:
    await river.append([make_line(attempt=2), make_line(ingest=True)])
    with pytest.raises(Crash):
        await river.consume(crash_at("judged"))
    with pytest.raises(Crash):
        await river.consume(crash_at("events"))
    await river.consume()
    assert len(await river.positions()) == 2
    assert await river.positions("duplicates") == []


async def test_a_failed_insert_is_sent_again_and_one_that_landed_is_not(river: River) -> None:
    insert = river.warehouse.insert
    calls: list[str] = []

    async def fail_after_every_first_insert(table: str, rows: pa.Table, _fence: object = None) -> None:
        await insert(table, rows)
        calls.append(table)
        if calls.count(table) == 1:
            message = "the answer was lost"
            raise WarehouseError(message)

    await river.append(make_mixed_lines())
    with stamina.set_testing(testing=True, attempts=10, cap=True), pytest.MonkeyPatch.context() as patch:
        patch.setattr(river.warehouse, "insert", fail_after_every_first_insert)
        await river.consume()
    assert calls.count("receipts") == 2
    await assert_all_is_there_once(river)


@st.composite
def rivers_of_events(draw: st.DrawFn) -> list[tuple[int, list[Line]]]:
    """Blocks over two partitions: events of two months with few ids, so that many are resends.

    A visitor has one partition and an id belongs to one visitor.
    """
    ids = [str(uuid.UUID(int=number + 1)) for number in range(6)]
    blocks = []
    for _ in range(draw(st.integers(1, 6))):
        partition = draw(st.integers(0, 1))
        lines = []
        for _ in range(draw(st.integers(0, 6))):
            number = draw(st.integers(0, 2)) * 2 + partition
            lines.append(
                make_line(
                    event_id=draw(st.sampled_from([ids[number], ids[number], ""])),
                    ts=NOW - draw(st.sampled_from([0, 1, DAY, 22 * DAY, 55 * DAY])),
                    ingest=True,
                    attempt=draw(st.integers(1, 2)),
                    site_id=draw(st.sampled_from([SITE, SITE, OTHER_SITE])),
                )
            )
        blocks.append((partition, lines))
    return blocks


@given(
    blocks=rivers_of_events(),
    batch=st.integers(1, 40),
    crashes=st.lists(st.tuples(st.sampled_from(FAILPOINTS), st.integers(1, 3)), max_size=4),
    seed=st.integers(0, 1000),
)
@settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_any_batches_and_crashes_store_the_same_rows(
    river: River, blocks: list[tuple[int, list[Line]]], batch: int, crashes: list[tuple[str, int]], seed: int
) -> None:
    river = await river.renew()
    river.sizes = Sizes(lines=batch, refill=0, months=1, wide_age=0)
    order = random.Random(seed)  # noqa: S311 (a test's own dice)
    waiting = list(blocks)
    for failpoint, times in crashes:
        for _ in range(order.randint(0, len(waiting))):
            partition, lines = waiting.pop(0)
            await river.append(list(lines), partition)
        with suppress(Crash):
            await river.consume(crash_at(failpoint, times))
    for partition, lines in waiting:
        await river.append(list(lines), partition)
    await river.consume()
    assert await river.positions() == first_sends(blocks)
    await river.assert_ledger_closes()
    await river.log.close()


def first_sends(blocks: list[tuple[int, list[Line]]]) -> list[tuple[int, ...]]:
    """What must be stored, event by event: the first of each id of a site, and every event without one."""
    kept: list[tuple[int, ...]] = []
    seen: set[tuple[object, object]] = set()
    offsets = [0, 0]
    for partition, lines in blocks:
        for place, line in enumerate(lines):
            key = (line["site_id"], line["event_id"])
            if not line["event_id"] or key not in seen:
                kept.append((partition, offsets[partition], place))
                seen.add(key)
        offsets[partition] += 1
    return sorted(kept)
