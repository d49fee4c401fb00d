"""A consumer that waits: for a warehouse that loses answers, for a log that is away, and what it says meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from ingest import stint as stint_module
from ingest.log import DEAD, LogUnavailableError
from ingest.log.sqlite import SqliteShare
from ingest.progress import read_progress
from schemas.warehouse.errors import WarehouseError, WarehouseUnknownError
from tests.ingest.consumer.rivers import NOW, PATIENCE, Crash, crash_at, make_line, until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.consumer import Consumer
    from ingest.progress import Progress
    from schemas.event import BlockHeaders
    from tests.ingest.consumer.rivers import River

MORE_THAN_A_FLOAT_CAN_DOUBLE = 1100


def read_lag(consumer: Consumer) -> tuple[float, dict[str, float]]:
    """What /metrics would say: seconds, and what waits by partition."""
    metrics = consumer._parts.metrics  # noqa: SLF001 - as a process registers them
    ((seconds,), blocks) = (
        metric.samples for kind in (metrics.lag_seconds, metrics.lag_blocks) for metric in kind.collect()
    )
    return seconds.value, {sample.labels["partition"]: sample.value for sample in blocks}


async def until_committed(river: River, position: int) -> None:
    """Return when the log has been told that partition 0 is consumed up to there."""
    async with asyncio.timeout(PATIENCE):
        while (await river.log.committed())[0] != position:  # noqa: ASYNC110 - only asking tells
            await asyncio.sleep(0)


async def test_answers_may_be_lost_for_as_long_as_it_takes(river: River, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = 0

    async def fail(*arguments: object) -> Progress:
        nonlocal failures
        failures += 1
        if failures < MORE_THAN_A_FLOAT_CAN_DOUBLE:
            raise WarehouseUnknownError
        return await read_progress(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(stint_module, "read_progress", fail)
    monkeypatch.setattr("ingest.consumer.LONGEST_PAUSE", 0.0)
    await river.append([make_line()])
    await river.consume()
    assert await river.positions() == [(0, 0, 0)]


async def test_a_log_that_does_not_take_a_dead_letter_is_waited_for(
    river: River, monkeypatch: pytest.MonkeyPatch
) -> None:
    await river.append([b"{", make_line()])
    append, failures = river.log.append, [LogUnavailableError("no leader")] * 2

    async def fail(partition: int, headers: BlockHeaders, body: bytes) -> int:
        if partition == DEAD and failures:
            raise failures.pop()
        return await append(partition, headers, body)

    monkeypatch.setattr(river.log, "append", fail)
    await river.consume()
    assert not failures
    assert await river.positions() == [(0, 0, 1)]
    await river.assert_ledger_closes()


async def test_what_waits_is_told_while_the_warehouse_is_away(river: River, monkeypatch: pytest.MonkeyPatch) -> None:
    await river.consume()
    await river.append([make_line(received=NOW - 4000)])
    await river.append([make_line(received=NOW - 3000)])
    is_away = True

    async def ask(*arguments: object) -> Progress:
        if is_away:
            message = "away"
            raise WarehouseError(message)
        return await read_progress(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(stint_module, "read_progress", ask)
    consumer, stop = river.make_consumer(), asyncio.Event()
    consumer.listen(lambda _sites, _received: stop.set())
    running = asyncio.create_task(consumer.run(stop))
    await until(lambda: read_lag(consumer) == (4.0, {"0": 2.0, "1": 0.0}))
    assert consumer.state == "starting"
    is_away = False
    await running
    assert read_lag(consumer) == (0.0, {})


async def test_what_landed_is_committed_though_the_log_was_away_and_nothing_comes_any_more(
    river: River, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stint_module, "TELL_EVERY", 0.0)
    failures = [LogUnavailableError("no coordinator")] * 2
    commit = SqliteShare.commit

    async def fail(share: SqliteShare, positions: Mapping[int, int]) -> None:
        if failures and positions[0]:
            raise failures.pop()
        await commit(share, positions)

    monkeypatch.setattr(SqliteShare, "commit", fail)
    await river.append([make_line()])
    consumer, stop = river.make_consumer(), asyncio.Event()
    running = asyncio.create_task(consumer.run(stop))
    await until_committed(river, 1)
    assert not failures
    stop.set()
    await running


async def test_a_share_that_is_taken_over_is_committed_as_far_as_the_warehouse_has_it(
    river: River,
) -> None:
    await river.append([make_line()])
    with pytest.raises(Crash):
        await river.consume(crash_at("receipts"))
    assert (await river.log.committed())[0] == 0
    consumer, stop = river.make_consumer(), asyncio.Event()
    running = asyncio.create_task(consumer.run(stop))
    await until_committed(river, 1)
    stop.set()
    await running
