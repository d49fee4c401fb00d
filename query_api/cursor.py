"""A cursor is a question with its resolved range, and the last row that was given. It opens nothing by itself.

What a cursor says is read with the same eyes as a query, under the key that sends it: a site that the key does not see
is refused here as there, so a cursor needs no signature.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from query_api.question import Report, Value

MAX_LENGTH = 64 * 1024
MAX_UNPACKED = 16 * MAX_LENGTH
DIGEST_BYTES = 9
# What may be said anew beside a cursor.
BESIDE_CURSOR = frozenset({"cursor", "limit", "format"})

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Cursor:
    """`query` with its range as instants, a digest of the query as it was asked, and the last row's place."""

    report: str
    query: Pairs
    asked: str
    after: tuple[str | int, ...]

    def to_text(self) -> str:
        """URL-safe text, packed: a question names every site, and the link to a next page must fit into a header."""
        data = zlib.compress(orjson.dumps([self.report, self.query, self.asked, self.after]), 9)
        return base64.urlsafe_b64encode(data).decode().rstrip("=")


def read_cursor(text: str, report: Report) -> Cursor:
    """Read what `to_text` wrote for this report; ValueError says what is wrong."""
    if len(text) > MAX_LENGTH:
        message = "is too long"
        raise ValueError(message)
    try:
        data = orjson.loads(_unpack(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)))
        name, query, asked, after = data
        pairs = tuple((str(key), str(value)) for key, value in query)
        cursor = Cursor(str(name), pairs, str(asked), _to_after(after, report))
    except (ValueError, TypeError, binascii.Error, zlib.error) as error:
        message = "is not one that this endpoint gave"
        raise ValueError(message) from error
    if cursor.report != report.name:
        message = f"is one of /v1/{cursor.report}"
        raise ValueError(message)
    return cursor


def _unpack(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    unpacked = unpacker.decompress(data, MAX_UNPACKED)
    if not unpacker.eof:
        message = "is cut, or unpacks to too much"
        raise ValueError(message)
    return unpacked


def _to_after(values: list[object], report: Report) -> tuple[str | int, ...]:
    """The ranking measure, then as many dimensions as the report has (or one more: the city of a place)."""
    first, *rest = values
    texts = [value for value in rest if isinstance(value, str)]
    if type(first) is not int or not 0 <= first < 2**63 or len(texts) != len(rest):
        raise ValueError(values)
    if len(rest) - len(report.dimensions) not in {0, 1}:
        raise ValueError(values)
    return (first, *texts)


def to_digest(query: Sequence[tuple[str, str]]) -> str:
    """Tells apart what was asked, whatever the order of its parameters."""
    data = repr(sorted(query)).encode()  # repr, since a name that is refused may be no UTF-8
    return base64.urlsafe_b64encode(hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()).decode()


def to_after(row: dict[str, Value], report: Report, dimensions: Sequence[str]) -> tuple[str | int, ...]:
    """The place of a row in its list."""
    return (int(row[report.measures[0]] or 0), *(str(row[name]) for name in dimensions))
