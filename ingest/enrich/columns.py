"""Columns as their distinct values: what every step works on instead of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

Columns: TypeAlias = "Mapping[str, pa.Array]"
Codes: TypeAlias = "NDArray[np.int64]"


@dataclass(frozen=True, slots=True)
class Distinct:
    """A text column: its distinct values in order of first appearance, and for each row the place of its value."""

    values: list[str]
    codes: Codes


def to_distinct(column: pa.Array) -> Distinct:
    """Take a text column apart. It has no nulls."""
    encoded = column.dictionary_encode()
    return Distinct(encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64))


def to_labels(values: Sequence[str], codes: Codes) -> pa.DictionaryArray:
    """Give one text per row: `values[code]`. Values may repeat; the dictionary's do not (ClickHouse refuses that)."""
    encoded = pa.array(values, pa.string()).dictionary_encode()
    indices = encoded.indices.to_numpy()[codes]
    return pa.DictionaryArray.from_arrays(pa.array(indices), encoded.dictionary)


def to_label_columns(names: Sequence[str], records: Sequence[tuple[str, ...]], codes: Codes) -> Columns:
    """Give one column per name from the fields of `records[code]`."""
    fields: Iterable[Sequence[str]] = zip(*records, strict=True) if records else [()] * len(names)
    return {name: to_labels(values, codes) for name, values in zip(names, fields, strict=True)}


@dataclass(frozen=True, slots=True)
class Combination:
    """Several coded columns as one: the distinct combinations (one array of codes per column), and one code per row."""

    parts: list[list[int]]
    codes: Codes


def combine(columns: Sequence[Codes]) -> Combination:
    """Find the distinct combinations of coded columns of equal length, at least one.

    Each column's codes are dense, so the mixed-radix number of a row stays under the product of their counts; columns
    are folded in one by one and made dense again in between, which keeps it under rows x count (2**63 is far).
    """
    first, *others = columns
    codes, parts = dense(first)
    found = [parts]
    for column in others:
        radix = int(column.max(initial=0)) + 1
        codes, keys = dense(codes * radix + column)
        found = [part[keys // radix] for part in found] + [keys % radix]
    return Combination([part.tolist() for part in found], codes)


def dense(codes: Codes) -> tuple[Codes, Codes]:
    """Number the distinct codes from 0 in order of appearance: the new code of each row, the old one of each new."""
    encoded = pa.array(codes).dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_numpy()


def intern(records: Iterable[tuple[str, ...]]) -> tuple[list[tuple[str, ...]], Codes]:
    """Number the distinct records: the records, and the number of each that was given."""
    numbers: dict[tuple[str, ...], int] = {}
    codes = np.fromiter((numbers.setdefault(record, len(numbers)) for record in records), np.int64)
    return list(numbers), codes
