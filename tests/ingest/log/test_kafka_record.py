"""Headers that somebody else has written under our names: whatever they hold, the warehouse can take the record."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest.block_lines import read_records
from ingest.dead_letters import SCHEMA as DEAD_LETTERS
from ingest.log.kafka_record import FOREIGN, Producer, to_batch, to_entries, to_records
from ingest.writer import to_receipts
from schemas.event import BlockHeaders, ReceiptCount, SiteId
from tests.ingest.log.makers import NOW, make_headers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.log import Record

COUNT = [1, NOW // 1000, "", 1]
LETTER = [0, 0, 0]
SOUND: dict[str, object] = {"v": 1, "n": 1, "a": NOW, "z": NOW, "c": [COUNT], "r": LETTER}
LAST_SECOND = 2**32 // 3600 * 3600 - 1  # its hour ends within a DateTime
edges = st.sampled_from([2**bits + step for bits in (15, 16, 31, 32, 63, 64) for step in (-1, 0)])
times = st.sampled_from([LAST_SECOND, LAST_SECOND + 1, LAST_SECOND * 1000 + 999, (LAST_SECOND + 1) * 1000])
numbers = st.integers(-5, 5) | edges | times | st.integers(-(2**63), 2**64 - 1)
odd: st.SearchStrategy[object] = st.one_of(
    st.none(),
    st.booleans(),
    numbers,
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3),
    st.just([]),
)
places = st.integers(0, 3)
counts = st.lists(st.builds(lambda place, value: replace(COUNT, place, value), places, odd), max_size=2)
letters = st.builds(lambda place, value: replace(LETTER, place % 3, value), places, odd) | odd
fields = st.dictionaries(st.sampled_from(["v", "n", "a", "z"]), odd, max_size=1)
headers = st.builds(lambda fields, counts, letter: SOUND | fields | {"c": counts, "r": letter}, fields, counts, letters)


def replace(values: Sequence[object], place: int, value: object) -> Sequence[object]:
    """The values with another one at this place."""
    return [*values[:place], value, *values[place + 1 :]]


def read(fields: object, timestamp: int = NOW) -> Record:
    """The record of a message with this JSON in the place of a block's headers."""
    entries = (("v", b"1"), ("n", b"1"), ("block", json.dumps(fields).encode()))
    ((record,), _behind) = to_records(0, 0, to_batch([(entries, b"{}\n")], "lz4", Producer(1, 0), 0, timestamp))
    return record


def to_dead(record: Record) -> pa.Table:
    """Rows of `dead_letters` for the record's lines, none of which can be read; its retry's letter stands beside."""
    rows = [
        (line.site_id, line.hour, 1, *line.position, line.reason, 0, False, 0, 0, 1)
        for line in read_records([record]).bad
    ]
    letter = record.headers.retry_of or (0, 0, 0)
    rows.append((0, 0, 1, *letter, "", 0, True, 0, 0, 1))
    return pa.table([pa.array(column) for column in zip(*rows, strict=True)], DEAD_LETTERS.names).cast(DEAD_LETTERS)


@given(fields=headers, timestamp=st.integers(-1, 2**63 - 1))
@example(SOUND | {"z": NOW * 1_000_000}, NOW)
@example(SOUND | {"c": [[1, NOW // 1000, "", -5]]}, NOW)
@example(SOUND | {"c": [["x", NOW // 1000, "", 1]]}, NOW)
@example(SOUND | {"r": "abc"}, NOW)
@example(SOUND | {"r": [65536, 0, 0]}, NOW)
@example({}, -1)
def test_whatever_a_message_says_the_warehouse_has_columns_for_it(fields: object, timestamp: int) -> None:
    record = read(fields, timestamp)
    assert to_receipts([record], 1).num_rows >= 1
    assert to_dead(record).num_rows == 2


@pytest.mark.parametrize("count", [[1, 0, 0, 1], [True, 0, "", 1], [1, 0.0, "", 1], [1, 0, "", None], [1, 0, ""]])
def test_a_count_of_other_kinds_is_not_ours(count: object) -> None:
    assert read(SOUND | {"c": [count]}).headers.version == FOREIGN


def test_the_largest_numbers_that_a_block_of_ours_may_hold_are_kept() -> None:
    last = LAST_SECOND * 1000 + 999
    counts = (ReceiptCount(SiteId(2**32 - 1), LAST_SECOND, "unknown", 2**32 - 1),)
    block = BlockHeaders(2**32 - 1, last, last, counts, retry_of=(65535, 2**64 - 1, 2**32 - 1))
    for headers in (block, make_headers(0), make_headers(3, "too_large")):
        data = to_batch([(to_entries(headers), b"a")], "lz4", Producer(1, 0), 0, NOW)
        assert to_records(0, 0, data)[0][0].headers == headers
