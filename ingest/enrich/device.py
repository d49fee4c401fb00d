"""The step that says on what a page was seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.enrich.agents import Device
from ingest.enrich.columns import to_label_columns

if TYPE_CHECKING:
    from ingest.enrich.batch import Batch
from ingest.enrich.columns import Columns


def add_device(batch: Batch, columns: Columns) -> Columns:  # noqa: ARG001 (a step)
    """Fill device_type, browser, browser_version, os and os_version."""
    records = [agent.device for agent in batch.agents]
    return to_label_columns(Device._fields, records, batch.distinct("user_agent").codes)
