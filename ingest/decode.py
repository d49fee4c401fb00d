"""From the bytes of a request to records: unpacking with caps, then an object, an array or NDJSON."""

from __future__ import annotations

import sys
import zlib
from typing import TYPE_CHECKING, NamedTuple, Protocol

import orjson

from ingest.refused import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAX_BODY = 1024 * 1024  # as it is sent
MAX_UNPACKED = 2 * 1024 * 1024
MAX_MEMBERS = 16  # gzip members or zstd frames
MAX_EVENTS = 1000
MAX_EVENT = 64 * 1024
# Objects and lists are what costs: 2 MiB of "[]," took 0.4 s to parse, of which the garbage collector 0.3 (2026-11-21).
# An event has three objects at most; the rest may stand in its texts.
MAX_BRACKETS = 30 * MAX_EVENTS
WINDOW_LOG = 23  # 8 MiB, what RFC 9659 allows for the content coding zstd
BOM = b"\xef\xbb\xbf"


class UnreadableError(Exception):
    """The body is not what its headers say it is."""


class TooLargeError(Exception):
    """The body is over a cap; the message names it."""


class UnknownEncodingError(Exception):
    """The content coding is not one of `UNPACKERS`."""


class Unreadable(NamedTuple):
    """Stands in a list of records for one that cannot be taken; `site_key` is the record's own, if legible."""

    reason: Reason
    site_key: str


BROKEN = Unreadable(Reason.MALFORMED, "")
OVERSIZED = Unreadable(Reason.TOO_LARGE, "")
NUL = "\0"
ESCAPE = b"\\"
ESCAPED_NUL = b"\\u0000"  # the only way in which JSON can carry one


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def unpack(body: bytes, encoding: str) -> bytes:
    """Undo the content coding of `body` (the empty one is none).

    Raise UnknownEncodingError, UnreadableError for damaged or truncated data, TooLargeError past `MAX_UNPACKED` bytes
    or `MAX_MEMBERS`; never hold more than that.
    """
    coding = encoding.strip().lower()
    if coding in ("", "identity"):
        return body
    make = UNPACKERS.get(coding)
    if make is None:
        raise UnknownEncodingError(coding)
    try:
        return _unpack_members(body, make)
    except (zlib.error, zstd.ZstdError, EOFError) as error:
        message = f"The body is not valid {coding}."
        raise UnreadableError(message) from error


def to_records(body: bytes) -> Sequence[object]:
    """Give the records of an unpacked body: parsed JSON values, `Unreadable` in the place of a bad one.

    A body that is neither JSON nor NDJSON is one broken record, an empty one none. Raise TooLargeError for more than
    `MAX_EVENTS`, and for more objects and lists than they may have.
    """
    if len(body) > MAX_EVENT:
        _refuse_brackets(body)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        records = _to_lines(body)
    else:
        records = _weigh(value, len(body))
    if ESCAPE in body and ESCAPED_NUL in body:  # the first alone takes a tenth of the second's time
        return [_without_nul(record) for record in records]
    return records


def _weigh(value: object, size: int) -> Sequence[object]:
    if not isinstance(value, list):
        return (value if size <= MAX_EVENT else _unreadable(value, Reason.TOO_LARGE),)
    _refuse_too_many(len(value))
    return value if size <= MAX_EVENT else [_weighed(record) for record in value]


def _to_lines(body: bytes) -> Sequence[object]:
    text = body.removeprefix(BOM).strip()
    if not text:
        return ()
    if len(text) < len(body):
        return to_records(text)
    if text[:1] == b"[" or b"\n" not in text:
        return (BROKEN,)
    _refuse_too_many(text.count(b"\n") + 1)
    records = [_to_record(line) for line in text.split(b"\n") if line.strip()]
    # Without one whole object this is a damaged document that was printed over several lines.
    return records if any(isinstance(record, dict) for record in records) else (BROKEN,)


def _to_record(line: bytes) -> object:
    if len(line) > MAX_EVENT:
        return OVERSIZED
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return BROKEN


def _weighed(record: object) -> object:
    # Without its white space; as it was sent it can only be longer.
    try:
        return record if len(orjson.dumps(record)) <= MAX_EVENT else _unreadable(record, Reason.TOO_LARGE)
    except orjson.JSONEncodeError:  # deeper than orjson writes
        return _unreadable(record, Reason.MALFORMED)


def _without_nul(record: object) -> object:
    rest = [record]
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            rest += value
            rest += value.values()
        elif isinstance(value, list):
            rest += value
        elif isinstance(value, str) and NUL in value:
            return _unreadable(record, Reason.NUL)
    return record


def _unreadable(record: object, reason: Reason) -> Unreadable:
    site_key = record.get("site_key") if isinstance(record, dict) else None
    return Unreadable(reason, site_key if isinstance(site_key, str) else "")


def _refuse_brackets(body: bytes) -> None:
    if body.count(b"{") + body.count(b"[") > MAX_BRACKETS:
        message = f"A body may hold {MAX_BRACKETS} objects and lists."
        raise TooLargeError(message)


def _refuse_too_many(count: int) -> None:
    if count > MAX_EVENTS:
        message = f"A request may carry {MAX_EVENTS} events."
        raise TooLargeError(message)


def _unpack_members(body: bytes, make: Callable[[], _Decompressor]) -> bytes:
    unpacked = bytearray()
    for _ in range(MAX_MEMBERS):
        member = make()
        # One byte above the cap tells "too much" from "just enough".
        unpacked += member.decompress(body, MAX_UNPACKED + 1 - len(unpacked))
        if len(unpacked) > MAX_UNPACKED:
            message = f"The body unpacks to more than {MAX_UNPACKED} bytes."
            raise TooLargeError(message)
        if not member.eof:
            raise EOFError
        body = member.unused_data
        if not body:
            return bytes(unpacked)
    message = f"The body has more than {MAX_MEMBERS} compressed members."
    raise TooLargeError(message)


def _gzip() -> _Decompressor:
    return zlib.decompressobj(16 + zlib.MAX_WBITS)


def _zstd() -> _Decompressor:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: WINDOW_LOG})


UNPACKERS: dict[str, Callable[[], _Decompressor]] = {"gzip": _gzip, "x-gzip": _gzip, "zstd": _zstd}
