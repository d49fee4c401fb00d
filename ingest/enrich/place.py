"""The step that says where on earth a visitor is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.enrich.columns import intern, to_label_columns
from ingest.enrich.geo import NOWHERE

if TYPE_CHECKING:
    from ingest.enrich.batch import Batch
    from ingest.enrich.columns import Columns


def add_place(batch: Batch, columns: Columns) -> Columns:  # noqa: ARG001 (a step)
    """Fill country, region and city; empty without a database."""
    addresses, geo = batch.distinct("address"), batch.facts.geo
    places, codes = intern(geo.find(text) if geo else NOWHERE for text in addresses.values)
    return to_label_columns(("country", "region", "city"), places, codes[addresses.codes])
