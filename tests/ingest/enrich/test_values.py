"""Event ids, properties and amounts."""

from __future__ import annotations

import uuid
from decimal import Decimal

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.enrich.event_ids import hash_event_ids
from ingest.enrich.props import to_pairs
from ingest.enrich.revenue import LARGEST, to_amount

ONE = "018f0000-0000-7000-8000-000000000001"


def hash_one(text: str) -> int:
    return int(hash_event_ids(pa.array([text]))[0])


@given(st.lists(st.one_of(st.uuids().map(str), st.just(""), st.text(max_size=40)), max_size=20))
def test_equal_ids_have_equal_hashes_wherever_they_stand(texts: list[str]) -> None:
    hashes = hash_event_ids(pa.array(texts, pa.string())).tolist()
    assert hashes == [hash_one(text) for text in texts]
    assert [number == 0 for number in hashes] == [text == "" for text in texts]
    assert len(set(hashes)) == len({text.lower() if len(text) == 36 else text for text in texts})


def test_hashes_are_written_down() -> None:
    # They are stored and compared with later ones.
    assert [hash_one(ONE), hash_one("odd")] == [14304709373013454308, 5967516945382908589]


def test_neighbours_and_one_bit_apart_never_meet() -> None:
    base = int(uuid.UUID(ONE))
    numbers = [base + step for step in range(5000)] + [base ^ 1 << bit for bit in range(1, 128)]
    texts = [str(uuid.UUID(int=number)) for number in numbers]
    hashes = hash_event_ids(pa.array(texts))
    assert len(set(hashes.tolist())) == len(set(texts))
    # A good mix: every bit of the hash is set in about half of them.
    bits = ((hashes[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)).mean(axis=0)
    assert (abs(bits - 0.5) < 0.05).all()


def test_slices_and_chunks_are_hashed_as_the_whole() -> None:
    column = pa.array([ONE, "", str(uuid.UUID(int=7)), "odd"])
    whole = hash_event_ids(column).tolist()
    assert hash_event_ids(column.slice(2)).tolist() == whole[2:]
    assert hash_event_ids(pa.chunked_array([column.slice(0, 1), column.slice(1)])).tolist() == whole
    assert hash_event_ids(pa.array([], pa.string())).tolist() == []


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", ()),
        ("{}", ()),
        ('{"a":"x","b":true,"c":false,"d":null}', (("a", "x"), ("b", "true"), ("c", "false"))),
        ('{"a":1,"b":1.0,"c":-0.5,"d":1e21,"e":12345678901234567}', None),
        ('{"ä":"\\u0000😀"}', (("ä", "\x00😀"),)),
        ('{"a":"","":"b"}', (("a", ""), ("", "b"))),
        ('{"a":[1],"b":{"c":2}}', (("a", "[1]"), ("b", '{"c":2}'))),
        ('{"a":1,"a":2}', (("a", "2"),)),
        ("[1]", ()),
        ("{", ()),
    ],
)
def test_properties_are_texts(text: str, pairs: tuple[tuple[str, str], ...] | None) -> None:
    numbers = (("a", "1"), ("b", "1.0"), ("c", "-0.5"), ("d", "1e+21"), ("e", "12345678901234567"))
    assert to_pairs(text) == (numbers if pairs is None else pairs)


@given(st.dictionaries(st.text(), st.one_of(st.text(), st.booleans(), st.floats(allow_nan=False), st.none())))
def test_any_scalars_are_rendered(values: dict[str, object]) -> None:
    pairs = to_pairs(orjson.dumps(values).decode())
    assert [name for name, _ in pairs] == [
        name for name, value in values.items() if value is not None and value not in (float("inf"), float("-inf"))
    ]


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("", "0"),
        ("12", "12"),
        ("12.34565", "12.3456"),
        ("12.34575", "12.3458"),
        ("-0.00005", "0"),
        ("-3.5", "-3.5"),
        ("1e3", "1000"),
        ("99999999999999.9999", str(LARGEST)),
        ("99999999999999.99995", "0"),
        ("1e400", "0"),
        ("NaN", "0"),
        ("Infinity", "0"),
        ("sNaN", "0"),
        ("twelve", "0"),
    ],
)
def test_amounts_have_four_decimals(text: str, amount: str) -> None:
    assert to_amount(text) == Decimal(amount)
    assert pa.array([to_amount(text)], pa.decimal128(18, 4)).null_count == 0
