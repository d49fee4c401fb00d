"""An answer as a body: JSON with its meta, or the same rows as a file. CSV is RFC 4180 in UTF-8 with a header line."""

from __future__ import annotations

import csv
import io
from types import MappingProxyType
from typing import TYPE_CHECKING

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from query_api.families import COUNTS, RATES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from query_api.question import Answer, Format, Row, Value

COMPARED = "compare."
OF_SITES: Mapping[str, pa.DataType] = MappingProxyType({"id": pa.int64(), "is_active": pa.bool_()})
CONTENT_TYPES: Mapping[Format, str] = MappingProxyType(
    {
        "json": "application/json",
        "csv": "text/csv; charset=utf-8; header=present",
        "ndjson": "application/x-ndjson",
        "parquet": "application/vnd.apache.parquet",
    }
)
ACCEPTED: Mapping[str, Format] = MappingProxyType(
    {
        "application/json": "json",
        "text/csv": "csv",
        "application/x-ndjson": "ndjson",
        "application/vnd.apache.parquet": "parquet",
    }
)


def choose_format(asked: Format | None, accept: str) -> Format:
    """What was asked for by parameter, else the first known type of the Accept header, else JSON."""
    if asked:
        return asked
    wanted = (part.partition(";")[0].strip().lower() for part in accept.split(","))
    return next((ACCEPTED[name] for name in wanted if name in ACCEPTED), "json")


def to_body(answer: Answer, wanted: Format) -> tuple[str, bytes]:
    """(content type, body)."""
    return CONTENT_TYPES[wanted], _WRITERS[wanted](answer)


def _to_json(answer: Answer) -> bytes:
    return orjson.dumps({"data": answer.rows, "meta": dict(answer.meta)})


def _to_ndjson(answer: Answer) -> bytes:
    return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in answer.rows)


def _to_csv(answer: Answer) -> bytes:
    text = io.StringIO()
    columns = _flat_columns(answer)
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    for row in answer.rows:
        flat = _to_flat(row)
        writer.writerow([flat.get(name) for name in columns])
    return text.getvalue().encode()


def _to_parquet(answer: Answer) -> bytes:
    rows = [_to_flat(row) for row in answer.rows]
    columns = _flat_columns(answer)
    arrays = [pa.array([row.get(name) for row in rows], _to_type(name)) for name in columns]
    data = io.BytesIO()
    pq.write_table(pa.table(arrays, names=columns), data)
    return data.getvalue()


def _to_type(column: str) -> pa.DataType:
    name = column.removeprefix(COMPARED)
    if name in RATES:
        return pa.float64()
    return pa.int64() if name in COUNTS else OF_SITES.get(name, pa.string())


def _flat_columns(answer: Answer) -> list[str]:
    """Columns of the rows; those of the compared range follow as `compare.<measure>`."""
    compared = [name for name in answer.columns if name in COUNTS | RATES] if answer.meta.get("compare") else []
    return [*answer.columns, *(COMPARED + name for name in compared)]


def _to_flat(row: Row) -> dict[str, Value]:
    """One level: compared figures by their own names, any other object (refusals by reason) as JSON text."""
    flat: dict[str, Value] = {}
    for name, value in row.items():
        if not isinstance(value, dict):
            flat[name] = value
        elif name == "compare":
            flat |= {COMPARED + inner: one for inner, one in value.items()}
        else:
            flat[name] = orjson.dumps(value).decode()
    return flat


_WRITERS = MappingProxyType({"json": _to_json, "csv": _to_csv, "ndjson": _to_ndjson, "parquet": _to_parquet})
