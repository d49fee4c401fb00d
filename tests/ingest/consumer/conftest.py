"""A river for each test: a log, a control plane and a warehouse of its own, and the product's enrichment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from schemas.warehouse.client import Limits
from tests.ingest.consumer.rivers import make_enricher, open_river

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from ingest.enrich.pipeline import Enricher
    from schemas.warehouse.client import Warehouse
    from tests.ingest.consumer.rivers import River


@pytest.fixture(scope="session")
def enricher() -> Enricher:
    """Enrichment with all its lists; its memory changes no result."""
    return make_enricher()


@pytest.fixture
async def river(control: AsyncEngine, warehouse: Warehouse, tmp_path: Path, enricher: Enricher) -> AsyncIterator[River]:
    """An empty river."""
    river = await open_river(control, warehouse, tmp_path, enricher)
    yield river
    await river.log.close()


@pytest.fixture
def dates_as_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every question is answered as servers before 26.2 do: a Date as a UInt16."""
    to_settings = Limits.to_settings
    as_numbers = {"output_format_arrow_date_as_uint16": 1}
    monkeypatch.setattr(Limits, "to_settings", lambda limits: {**to_settings(limits), **as_numbers})
