"""From bytes to records, within caps."""

from __future__ import annotations

import gzip
import sys
import zlib
from typing import TYPE_CHECKING

import orjson
import pytest

from ingest.decode import (
    BROKEN,
    MAX_EVENT,
    MAX_EVENTS,
    MAX_MEMBERS,
    MAX_UNPACKED,
    OVERSIZED,
    TooLargeError,
    UnknownEncodingError,
    Unreadable,
    UnreadableError,
    to_records,
    unpack,
)
from ingest.refused import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

A, B = {"a": 1}, {"b": 2}


@pytest.mark.parametrize(
    ("body", "records"),
    [
        (b'{"a":1}', [A]),
        (b' \n{\n"a":1}\n ', [A]),
        (b'[{"a":1},{"b":2}]', [A, B]),
        (b'{"a":1}\n{"b":2}', [A, B]),
        (b'{"a":1}\r\n\r\n{"b":2}\r\n', [A, B]),
        (b'\xef\xbb\xbf{"a":1}', [A]),
        (b'\xef\xbb\xbf{"a":1}\n{"b":2}', [A, B]),
        (b'{"a":1}\n{"b":\n{"b":2}', [A, BROKEN, B]),
        (b'{"a":1}\n5\n"x"', [A, 5, "x"]),
        (b'nonsense\n{"a":1}', [BROKEN, A]),
        (b"", []),
        (b" \n ", []),
        (b"[]", []),
        (b"null", [None]),
        (b"[", [BROKEN]),
        (b'[{"a":1},\n{"b":2},\n{"c"', [BROKEN]),
        (b'{\n"a": 1,\n"b": {\n"c"', [BROKEN]),
        (b'{"a":"\xff"}', [BROKEN]),
        (b'{"a":"\\ud800"}', [BROKEN]),
        (b'{"a":1e999}', [BROKEN]),
        (b'{"a":NaN}', [BROKEN]),
        ('{"a":1}'.encode("utf-16"), [BROKEN]),
        (b"[" * 30_000, [BROKEN]),
        (b'{"a":' * 10_000, [BROKEN]),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_body_is_an_object_an_array_or_lines(body: bytes, records: list[object]) -> None:
    assert list(to_records(body)) == records


def test_one_event_over_64_kib_is_refused_by_itself() -> None:
    large = {"site_key": "k", "a": "x" * MAX_EVENT}
    marked = Unreadable(Reason.TOO_LARGE, "k")
    assert list(to_records(orjson.dumps(large))) == [marked]
    assert list(to_records(orjson.dumps([A, large, B]))) == [A, marked, B]
    assert list(to_records(orjson.dumps(A) + b"\n" + orjson.dumps(large))) == [A, OVERSIZED]
    fits = {"a": "x" * (MAX_EVENT - len('{"a":""}'))}
    assert list(to_records(orjson.dumps(fits))) == [fits]


def test_text_with_nul_is_refused_and_text_about_nul_is_not() -> None:
    for record in ({"a": "\0"}, {"\0": 1}, {"site_key": "k", "a": {"b": [{"c": "x\0"}]}}):
        [marked] = to_records(orjson.dumps(record))
        assert marked == Unreadable(Reason.NUL, str(record.get("site_key", "")))
    assert list(to_records(rb'{"a":"\\u0000"}')) == [{"a": r"\u0000"}]


def test_a_deep_record_is_searched_without_recursion() -> None:
    body = b'{"a":"\\u0000","b":' + b"[" * 1000 + b"]" * 1000 + b"}"
    assert list(to_records(body)) == [Unreadable(Reason.NUL, "")]
    long = b'[{"a":"' + b"x" * MAX_EVENT + b'"},' + b"[" * 1000 + b"]" * 1000 + b"]"
    assert list(to_records(long)) == [OVERSIZED, BROKEN]


@pytest.mark.parametrize(
    "body", [b"[" + b"1," * MAX_EVENTS + b"1]", b"1\n" * (MAX_EVENTS + 1), b"[" * 100_000, b"[[" + b"{}," * 50_000]
)
def test_more_than_a_thousand_events_are_too_many(body: bytes) -> None:
    with pytest.raises(TooLargeError):
        to_records(body)


PACKERS = [("gzip", gzip.compress), ("X-GZIP ", gzip.compress), ("zstd", zstd.compress)]


@pytest.mark.parametrize(("encoding", "pack"), PACKERS)
def test_a_packed_body_is_unpacked_member_by_member(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    assert unpack(pack(b'{"a":') + pack(b"1}"), encoding) == b'{"a":1}'
    assert unpack(pack(b""), encoding) == b""
    assert unpack(pack(b"x" * MAX_UNPACKED), encoding) == b"x" * MAX_UNPACKED


@pytest.mark.parametrize(("encoding", "pack"), PACKERS)
def test_a_bomb_is_cut_off_at_the_cap(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    for body in (
        pack(b"x" * (MAX_UNPACKED + 1)),
        pack(b"\0" * 30_000_000),
        pack(b"x" * (MAX_UNPACKED - 1)) + pack(b"xx"),
        pack(b"") * (MAX_MEMBERS + 1),
    ):
        with pytest.raises(TooLargeError):
            unpack(body, encoding)


@pytest.mark.parametrize(("encoding", "pack"), PACKERS)
def test_a_damaged_body_is_unreadable(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    whole = pack(b"abc" * 100)
    for body in (b"", b"plain", whole[:-1], whole[:5], whole + b"rest", zlib.compress(b"x")):
        with pytest.raises(UnreadableError):
            unpack(body, encoding)


def test_a_zstd_frame_may_not_ask_for_a_huge_window() -> None:
    options: dict[int, int] = {zstd.CompressionParameter.window_log: 27, zstd.CompressionParameter.content_size_flag: 0}
    packer = zstd.ZstdCompressor(options=options)
    body = packer.compress(b"x" * 1000) + packer.flush()
    with pytest.raises(UnreadableError):
        unpack(body, "zstd")


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "compress"])
def test_other_codings_are_unknown(encoding: str) -> None:
    with pytest.raises(UnknownEncodingError):
        unpack(b"x", encoding)
