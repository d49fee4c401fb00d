"""The steps that carry over what needs no knowledge: the day, the event itself, its position in the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ingest.enrich.columns import to_labels
from ingest.enrich.event_ids import hash_event_ids

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.enrich.batch import Batch
    from ingest.enrich.columns import Columns

INSTANT = pa.timestamp("ms", tz="UTC")
CARRIED: Mapping[str, pa.DataType] = {
    "site_id": pa.uint32(),
    "ts": INSTANT,
    "_log": pa.uint16(),
    "_partition": pa.uint16(),
    "_offset": pa.uint64(),
    "_place": pa.uint32(),
    "received": INSTANT,
    "ingest": pa.bool_(),
    "interactive": pa.bool_(),
    "title": pa.string(),
    "engaged_ms": pa.uint32(),
    "scroll_depth": pa.int16(),
}


def add_record(batch: Batch, columns: Columns) -> Columns:  # noqa: ARG001 (a step)
    """Fill what the line says as it stands, and the hash of its event id."""
    names = batch.distinct("name")
    return {
        **{name: batch.column(name).cast(kind) for name, kind in CARRIED.items()},
        "name": to_labels(names.values, names.codes),
        "event_id": pa.array(hash_event_ids(batch.column("event_id"))),
    }


def add_day(batch: Batch, columns: Columns) -> Columns:  # noqa: ARG001 (a step)
    """Fill local_date."""
    return {"local_date": pa.array(batch.days().astype(np.int32), pa.int32()).cast(pa.date32())}
