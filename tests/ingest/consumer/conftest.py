"""A river for each test: a log, a control plane and a warehouse of its own, and the product's enrichment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

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
