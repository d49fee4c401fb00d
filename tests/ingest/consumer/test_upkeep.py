"""Beside consuming: it goes on whatever it meets, and what is dropped meanwhile is no damage."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from ingest.duplicates import Duplicates
from ingest.lately_seen import LatelySeen
from ingest.log import LogDamagedError, LogUnavailableError
from ingest.salts import Salts
from ingest.unconsumed import Unconsumed
from ingest.upkeep import Upkeep
from tests.ingest.consumer.rivers import HOUR, NOW, make_line, until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.log import Record
    from tests.ingest.consumer.rivers import River


def make_upkeep(river: River) -> Upkeep:
    return Upkeep(
        Unconsumed(river.log),
        Duplicates(river.warehouse, LatelySeen()),
        Salts(river.control, river.clock),
        river.clock,
    )


async def test_a_block_that_is_dropped_while_it_is_asked_about_was_consumed(
    river: River, monkeypatch: pytest.MonkeyPatch
) -> None:
    for later in range(3):
        await river.append([make_line(received=NOW + later)])
    bounds, read, asked = river.log.bounds, river.log.read, []

    async def read_too_late(partition: int, position: int, size: int) -> Sequence[Record]:
        asked.append(position)
        if len(asked) == 1:
            message = "trimmed"
            raise LogDamagedError(message)
        return await read(partition, position, size)

    async def bounds_as_trimmed(partition: int) -> object:
        found = await bounds(partition)
        return type(found)(min(found.end, len(asked)), found.end)

    monkeypatch.setattr(river.log, "read", read_too_late)
    monkeypatch.setattr(river.log, "bounds", bounds_as_trimmed)
    assert await Unconsumed(river.log).oldest_from({0: 0, 1: 0}, NOW + HOUR) == NOW + 1
    assert asked == [0, 1]


@pytest.mark.parametrize("failure", [LogUnavailableError("full"), LogDamagedError("other"), RuntimeError("any")])
async def test_upkeep_goes_on_whatever_it_meets(
    river: River, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    monkeypatch.setattr("ingest.upkeep.EVERY_SECONDS", 0.0)
    upkeep = make_upkeep(river)
    done = 0

    async def do() -> None:
        nonlocal done
        done += 1
        if done == 1:
            raise failure

    monkeypatch.setattr(upkeep, "do", do)
    with capture_logs() as logs:
        running = asyncio.create_task(upkeep.run())
        await until(lambda: done > 1 or running.done())
        running.cancel()
    assert done > 1
    assert [line["event"] for line in logs] == ["upkeep_failed"]


async def test_salts_are_looked_after_though_the_clock_was_set_back(
    river: River, monkeypatch: pytest.MonkeyPatch
) -> None:
    upkeep = make_upkeep(river)
    looked = []

    async def make_ahead(_salts: Salts) -> None:
        looked.append(river.now)

    monkeypatch.setattr(Salts, "make_ahead", make_ahead)
    for step in (0, HOUR - 1, 1, -2 * HOUR, 1):
        river.now += step
        await upkeep.do()
    assert looked == [NOW, NOW + HOUR, NOW - HOUR]
