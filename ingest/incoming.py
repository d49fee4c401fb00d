"""A whole request and what its headers mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from aiohttp.hdrs import AUTHORIZATION
from multidict import istr

from ingest.answers import TurnedAwayError
from ingest.decode import TooLargeError, UnknownEncodingError, UnreadableError, to_records, unpack
from ingest.fields import MAX_USER_AGENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from multidict import CIMultiDictProxy

API_KEY = istr("X-API-Key")
# The usual ones as they are sent; others are taken apart.
PLAIN_TYPES = frozenset({"application/json", "text/plain;charset=UTF-8", "text/plain"})
MEDIA_TYPES = frozenset({"application/json", "text/plain"})
CHARSETS = frozenset({"", "utf-8", "utf8", "us-ascii"})


class Incoming(NamedTuple):
    """A request as it came: headers, the text of the peer's address, the whole body."""

    headers: CIMultiDictProxy[str]
    peer: str
    body: bytes
    is_pixel: bool = False


def decode(body: bytes, encoding: str | None) -> Sequence[object]:
    """Give the records of a body; raise TurnedAwayError."""
    try:
        return to_records(body if encoding is None else unpack(body, encoding))
    except TooLargeError as error:
        raise TurnedAwayError(413, str(error)) from error
    except UnknownEncodingError as error:
        raise TurnedAwayError(415, "Content-Encoding may be gzip or zstd.") from error
    except UnreadableError as error:
        raise TurnedAwayError(400, str(error)) from error


def refuse_media_type(content_type: str) -> None:
    """Raise TurnedAwayError unless it is JSON or plain text in UTF-8."""
    if content_type in PLAIN_TYPES:
        return
    media_type, _, parameters = content_type.lower().partition(";")
    charset = parameters.partition("charset=")[2].split(";")[0].strip(' "')
    if media_type.strip() not in MEDIA_TYPES or charset not in CHARSETS:
        raise TurnedAwayError(415, "Content-Type must be application/json or text/plain, in UTF-8.")


def to_secret(headers: CIMultiDictProxy[str]) -> str | None:
    """Give the project key that came along, or None. Other schemes (a proxy's Basic) are not for us."""
    authorization = headers.get(AUTHORIZATION)
    if authorization is not None:
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return secret.strip()
    return headers.get(API_KEY)


def to_text(header: str) -> str:
    """Give a header as valid Unicode, cut; bytes that are not UTF-8 come as lone surrogates."""
    header = header[:MAX_USER_AGENT]
    return header if header.isascii() else header.encode("utf-8", "replace").decode()
