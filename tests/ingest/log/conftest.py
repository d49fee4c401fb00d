"""The implementations that the contract is tested with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.ingest.log.makers import KafkaMaker, LogMaker, SqliteMaker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from ingest.log import EventLog
    from tests.servers.kafka import KafkaServer


@pytest.fixture(params=["sqlite", "kafka"])
def maker(request: pytest.FixtureRequest, tmp_path: Path) -> LogMaker:
    """A maker of every implementation in turn."""
    if request.param == "sqlite":
        return SqliteMaker(tmp_path)
    server: KafkaServer = request.getfixturevalue("kafka_server")
    return KafkaMaker(f"kafka://{server.address}")


@pytest.fixture
async def event_log(maker: LogMaker) -> AsyncIterator[EventLog]:
    """An empty log."""
    log = await maker.open()
    yield log
    await log.close()
