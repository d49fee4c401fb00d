"""The same rows in every format."""

from __future__ import annotations

import csv
import io
import json

import pyarrow.parquet as pq
import pytest

from query_api.formats import choose_format, to_body
from query_api.question import Answer, Row

ROWS: list[Row] = [
    {"pathname": '/a,"b"\n', "visitors": 2, "bounce_rate": 0.5, "compare": {"visitors": 1, "bounce_rate": 0.25}},
    {"pathname": "=é", "visitors": 0, "bounce_rate": 0.0, "compare": {"visitors": 0, "bounce_rate": 0}},
]
ANSWER = Answer(("pathname", "visitors", "bounce_rate"), ROWS, {"compare": {"kind": "previous"}})
FLAT = ["pathname", "visitors", "bounce_rate", "compare.visitors", "compare.bounce_rate"]
TABLE = [['/a,"b"\n', 2, 0.5, 1, 0.25], ["=é", 0, 0.0, 0, 0.0]]
ACCEPTS = {
    "": "json",
    "*/*": "json",
    "text/csv": "csv",
    "text/html, application/x-ndjson;q=0.5": "ndjson",
    "Application/vnd.apache.parquet": "parquet",
}


def test_json_has_data_and_meta() -> None:
    kind, body = to_body(ANSWER, "json")
    assert kind == "application/json"
    assert json.loads(body) == {"data": ROWS, "meta": {"compare": {"kind": "previous"}}}


def test_ndjson_is_a_row_a_line() -> None:
    assert [json.loads(line) for line in to_body(ANSWER, "ndjson")[1].splitlines()] == ROWS


def test_csv_quotes_what_it_must() -> None:
    [header, *rows] = csv.reader(io.StringIO(to_body(ANSWER, "csv")[1].decode(), newline=""))
    assert header == FLAT
    assert rows == [[str(value) for value in row] for row in [TABLE[0], [*TABLE[1][:4], 0]]]


def test_parquet_has_types() -> None:
    table = pq.read_table(io.BytesIO(to_body(ANSWER, "parquet")[1]))
    assert table.column_names == FLAT
    assert [str(one.type) for one in table.schema] == ["string", "int64", "double", "int64", "double"]
    assert [list(row.values()) for row in table.to_pylist()] == TABLE


@pytest.mark.parametrize("wanted", ["csv", "parquet"])
def test_no_rows_still_have_columns(wanted: str) -> None:
    body = to_body(Answer(("t", "visitors"), []), "csv" if wanted == "csv" else "parquet")[1]
    if wanted == "csv":
        assert body == b"t,visitors\r\n"
    else:
        assert pq.read_table(io.BytesIO(body)).column_names == ["t", "visitors"]


def test_objects_in_a_cell_are_json() -> None:
    answer = Answer(("hour", "refused"), [{"hour": "x", "refused": {"url": 3}}])
    assert to_body(answer, "csv")[1] == b'hour,refused\r\nx,"{""url"":3}"\r\n'


@pytest.mark.parametrize("accept", ACCEPTS)
def test_the_accept_header_chooses_where_nothing_was_asked(accept: str) -> None:
    assert choose_format(None, accept) == ACCEPTS[accept]
    assert choose_format("csv", accept) == "csv"
