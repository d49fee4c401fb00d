"""Lines of blocks as columns."""

from __future__ import annotations

import orjson
import pytest

from ingest.enrich.lines import LINE_SCHEMA, LineReader, UnreadableLinesError, read_lines
from schemas.event import LINE_FIELDS
from tests.ingest.enrich.make import NOON, make_line

LEAST = b'{"site_id":1,"url":"/","ts":%d,"received":%d}' % (NOON, NOON)


def test_an_absent_field_has_its_default() -> None:
    row = read_lines(LEAST).to_pylist()[0]
    expected = {field.name: field.default for field in LINE_FIELDS}
    expected |= {"site_id": 1, "url": "/", "ts": NOON, "received": NOON, "scroll_depth": -1}
    assert row == expected


def test_lines_come_out_in_order_and_in_one_piece() -> None:
    body = b"".join(orjson.dumps(make_line(url=f"/{place}")) + b"\n" for place in range(5000))
    lines = read_lines(body)
    assert lines["url"].to_pylist() == [f"/{place}" for place in range(5000)]
    assert lines.schema == LINE_SCHEMA
    assert all(column.num_chunks == 1 and not column.null_count for column in lines.columns)


@pytest.mark.parametrize("body", [b"", b"\n", b"\n\n  \n"])
def test_nothing_is_no_line(body: bytes) -> None:
    assert read_lines(body).num_rows == 0


def test_a_field_of_a_later_version_is_passed_over() -> None:
    assert read_lines(LEAST.replace(b"{", b'{"new":[1,{"a":2}],', 1)).num_rows == 1


def test_what_was_read_before_makes_no_difference() -> None:
    fields: tuple[dict[str, object], ...] = (
        {},
        {"title": "a"},
        {"scroll_depth": 5, "attempt": 2},
        {"new": [1]},
        {"new": 1, "user_id": "u"},
        {},
    )
    bodies = [LEAST + b"\n" + orjson.dumps(orjson.loads(LEAST) | one) for one in fields]
    reader = LineReader()
    for body in [*bodies, *reversed(bodies)]:
        assert reader.read(body).equals(read_lines(body))


def test_a_reader_goes_on_after_a_body_that_cannot_be_read() -> None:
    reader = LineReader()
    for line in BAD.values():
        with pytest.raises(UnreadableLinesError):
            reader.read(line)
        assert reader.read(LEAST).equals(read_lines(LEAST))


def test_odd_but_valid_text_is_kept() -> None:
    texts = ["\x00", "\\", '"', "\u2028", "😀", "\ufeff", "e\u0301"]
    body = b"\n".join(orjson.dumps(make_line(url=text)) for text in texts)
    assert read_lines(body)["url"].to_pylist() == texts


BAD = {
    "no json": b"{",
    "an array": b"[1]",
    "a text": b'"x"',
    "no site": LEAST.replace(b'"site_id":1,', b""),
    "a null site": LEAST.replace(b'"site_id":1', b'"site_id":null'),
    "no time": LEAST.replace(b'"ts"', b'"st"'),
    "a wrong type": LEAST.replace(b'"/"', b"7"),
    "a fraction": LEAST.replace(b'"site_id":1', b'"site_id":1.5'),
    "a number too large": LEAST.replace(b'"site_id":1', b'"site_id":99999999999999999999'),
    "a site past the column": LEAST.replace(b'"site_id":1', b'"site_id":4294967296'),
    "a negative site": LEAST.replace(b'"site_id":1', b'"site_id":-1'),
    "a receipt past the last hour": LEAST.replace(b'"received":%d' % NOON, b'"received":4294965600000'),
    "a time before all days": LEAST.replace(b'"ts":%d' % NOON, b'"ts":0'),
    "a time after all days": LEAST.replace(b'"ts":%d' % NOON, b'"ts":5700000000000'),
    "a depth over 100": LEAST.replace(b"{", b'{"scroll_depth":101,', 1),
    "an unknown zone": LEAST.replace(b"{", b'{"site_timezone":"Mars/Phobos",', 1),
    "no UTF-8": LEAST.replace(b'"/"', b'"\xff"'),
    "a lone surrogate": LEAST.replace(b'"/"', b'"\\ud800"'),
    "a field twice": LEAST.replace(b"{", b'{"site_id":1,', 1),
    "a line cut short": LEAST[:-4],
    "zeros of a torn page": b"\0" * 64,
}


@pytest.mark.parametrize("line", BAD.values(), ids=BAD.keys())
def test_one_bad_line_makes_all_unreadable(line: bytes) -> None:
    with pytest.raises(UnreadableLinesError):
        read_lines(LEAST + b"\n" + line + b"\n" + LEAST)
