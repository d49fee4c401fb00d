"""The implementations that the contract is tested with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.ingest.log.makers import LogMaker, SqliteMaker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from ingest.log import EventLog

MAKERS = {"sqlite": SqliteMaker}


@pytest.fixture(params=MAKERS)
def maker(request: pytest.FixtureRequest, tmp_path: Path) -> LogMaker:
    """A maker of every implementation in turn."""
    return MAKERS[request.param](tmp_path)


@pytest.fixture
async def event_log(maker: LogMaker) -> AsyncIterator[EventLog]:
    """An empty log."""
    log = await maker.open()
    yield log
    await log.close()
