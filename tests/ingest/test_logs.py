"""Each log has a number of its own, whoever asks first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from ingest.logs import LogDividedAnewError, adopt_log, number_of_log
from schemas.control.connect import open_control
from tests.servers.control_fixtures import pytest_generate_tests, url_of  # noqa: F401 - pytest calls it

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

NOW = 1_795_262_400_000


def clock() -> int:
    return NOW


async def test_a_log_keeps_its_number_and_the_next_one_gets_the_next(control: AsyncEngine) -> None:
    for _ in range(3):
        assert await number_of_log(control, "a", clock) == 1
    assert await number_of_log(control, "b", clock) == 2
    assert await number_of_log(control, "a", clock) == 1


async def test_an_adopted_log_counts_as_new(control: AsyncEngine) -> None:
    await number_of_log(control, "kafka:a_b%", clock)
    assert [await adopt_log(control, "kafka:a_b%", clock) for _ in range(3)] == [2, 3, 4]
    assert await number_of_log(control, "kafka:a_b%", clock) == 4
    assert await number_of_log(control, "kafka:a_b%#1", clock) == 1


async def test_processes_that_ask_at_once_agree(control: AsyncEngine) -> None:
    engines = [open_control(url_of(control)) for _ in range(6)]
    assert await asyncio.gather(*(number_of_log(engine, "a", clock) for engine in engines)) == [1] * 6
    assert sorted(await asyncio.gather(*(adopt_log(engine, "a", clock) for engine in engines))) == [2, 3, 4, 5, 6, 7]
    await asyncio.gather(*(engine.dispose() for engine in engines))


async def test_a_topic_with_other_partitions_is_refused_whatever_was_adopted(control: AsyncEngine) -> None:
    assert await number_of_log(control, "kafka:abc/4", clock) == 1
    assert await number_of_log(control, "kafka:abcd/8", clock) == 2
    assert await adopt_log(control, "kafka:abc/4", clock) == 3
    assert await number_of_log(control, "kafka:abc/4", clock) == 3
    with pytest.raises(LogDividedAnewError, match="has 8 partitions and had 4"):
        await number_of_log(control, "kafka:abc/8", clock)
