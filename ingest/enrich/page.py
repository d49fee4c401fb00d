"""The step that takes the page's URL apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.enrich.columns import to_label_columns
from ingest.enrich.urls import UrlParts

if TYPE_CHECKING:
    from ingest.enrich.batch import Batch
    from ingest.enrich.columns import Columns

NAMES = UrlParts._fields[:-1]  # all but `asked`, which only the source needs


def add_page(batch: Batch, columns: Columns) -> Columns:  # noqa: ARG001 (a step)
    """Fill hostname, pathname, the five UTM columns and click_id."""
    return to_label_columns(NAMES, [parts[:-1] for parts in batch.urls], batch.distinct("url").codes)
