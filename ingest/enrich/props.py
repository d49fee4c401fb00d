"""The step that renders an event's own properties as texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import orjson
import pyarrow as pa

if TYPE_CHECKING:
    from ingest.enrich.batch import Batch
    from ingest.enrich.columns import Columns

Pairs: TypeAlias = tuple[tuple[str, str], ...]
TYPE = pa.map_(pa.string(), pa.string())


def add_props(batch: Batch, columns: Columns) -> Columns:  # noqa: ARG001 (a step)
    """Fill props."""
    texts = batch.distinct("props")
    maps = pa.array([batch.memory.pairs(text) for text in texts.values], TYPE)
    return {"props": maps.take(pa.array(texts.codes.astype(np.int32)))}


def to_pairs(text: str) -> Pairs:
    """Give names and texts of a JSON object, in its order: text as it is, true, false, numbers as JSON writes them.

    null is as good as absent. What is no object (the collector lets none in) has no properties; a value that is no
    scalar is its JSON text.
    """
    if not text:
        return ()
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return ()
    if not isinstance(found, dict):
        return ()
    return tuple((name, to_text(value)) for name, value in found.items() if value is not None)


def to_text(value: object) -> str:
    """Render a value."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
