"""Blocks to columns: more than one piece of them, and what cannot be read among them."""

from __future__ import annotations

from ingest.block_lines import PIECE_BYTES, read_records
from ingest.log import Record
from schemas.event import BlockHeaders
from tests.ingest.consumer.rivers import NOW, make_line, to_block

BLOCKS = 5
LINES = 40


def make_record(position: int, **fields: object) -> Record:
    """A block of more than a third of a piece; its last line has `fields` besides."""
    title = "x" * (PIECE_BYTES // 3 // LINES)
    lines = [make_line(url=f"https://example.org/{position}/{place}", title=title) for place in range(LINES)]
    return Record(0, position, *to_block([*lines[:-1], lines[-1] | fields]))


def test_every_line_of_every_piece_has_its_position() -> None:
    lines = read_records([make_record(position, screen_width=position) for position in range(BLOCKS)])
    columns = lines.table.select(["_offset", "_place", "screen_width"]).to_pydict()
    widths = [position if place == LINES - 1 else 0 for position in range(BLOCKS) for place in range(LINES)]
    assert columns["_offset"] == [position for position in range(BLOCKS) for _ in range(LINES)]
    assert columns["_place"] == list(range(LINES)) * BLOCKS
    assert columns["screen_width"] == widths
    assert lines.table["url"].to_pylist() == [
        f"https://example.org/{position}/{place}" for position in range(BLOCKS) for place in range(LINES)
    ]


def test_a_bad_line_spoils_no_other_piece() -> None:
    records = [make_record(position, **({"attempt": "x"} if position == 3 else {})) for position in range(BLOCKS)]
    lines = read_records(records)
    assert [line.position for line in lines.bad] == [(0, 3, LINES - 1)]
    assert lines.table.num_rows == BLOCKS * LINES - 1


def test_a_record_that_is_no_block_of_ours_is_one_bad_line_and_spoils_no_other() -> None:
    ours, body = make_record(0), b'{"site_id": 7}\nnot ours\n'
    foreign = Record(0, 1, BlockHeaders(1, NOW, NOW, (), version=0), body)
    lines = read_records([ours, foreign, make_record(2)])
    (bad,) = lines.bad
    assert (bad.position, bad.reason, bad.text, bad.site_id) == ((0, 1, 0), "not a block of ours", body, 0)
    assert lines.table.num_rows == 2 * LINES
