"""Numbers of logs: one each, for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ingest.logs import LogDividedAnewError, adopt_log, number_of_log

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine


async def test_a_topic_with_other_partitions_is_refused_whatever_was_adopted(control: AsyncEngine) -> None:
    number = await number_of_log(control, "kafka:abc/4", lambda: 0)
    assert await number_of_log(control, "kafka:abc/4", lambda: 0) == number
    assert await number_of_log(control, "kafka:abcd/8", lambda: 0) == number + 1
    adopted = await adopt_log(control, "kafka:abc/4", lambda: 0)
    assert await number_of_log(control, "kafka:abc/4", lambda: 0) == adopted
    with pytest.raises(LogDividedAnewError, match="has 8 partitions and had 4"):
        await number_of_log(control, "kafka:abc/8", lambda: 0)


async def test_a_file_has_no_partitions_in_its_name(control: AsyncEngine) -> None:
    assert await number_of_log(control, "one", lambda: 0) != await number_of_log(control, "two", lambda: 0)
