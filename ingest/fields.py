"""The fields of an event: what each may hold, and how it stands in a line.

Every reader takes a parsed JSON value, gives what goes into the line (None: leave it out, it is the default) or raises
RefusedError. `null` means that a field was not sent. Fields that nobody knows are ignored.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

import orjson

from ingest.address import read_client
from ingest.refused import Reason, RefusedError
from schemas.event import PAGEVIEW

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ingest.address import Client

MAX_NAME = 120
MAX_URL = 2048
MAX_TITLE = 512
MAX_TAG = 64  # language, timezone: cut
MAX_USER_ID = 128
MAX_USER_AGENT = 1024
MAX_PROPS = 30
MAX_PROP = 2000
MAX_ENGAGED_MS = 1_800_000
MAX_SCROLL = 100
MAX_SCREEN = 100_000
MAX_ATTEMPT = 1_000_000
MAX_NUMBER_TEXT = 40
FOUR_PLACES = Decimal("0.0001")
MAX_AMOUNT = Decimal(10) ** 14  # Decimal(18, 4) of the warehouse
# What a Date and a UInt32 of hours can hold in every zone.
FIRST_INSTANT = 86_400_000  # 1970-01-02
LAST_INSTANT = 4_291_660_800_000  # 2105-12-31
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

# A UUID is a text that looks like this when every hexadecimal digit is a zero (a third of a pattern's time).
UUID_SHAPE = b"00000000-0000-0000-0000-000000000000"
TO_ZEROS = bytes.maketrans(b"0123456789abcdefABCDEF", b"0" * 22)
AMOUNT = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?")
CURRENCY = re.compile(r"[A-Za-z]{3}")
# scheme://[user@]host[:port], then a path, a query, a fragment or nothing. "data:" and "file:///" have no host.
URL = re.compile(
    r"[A-Za-z][A-Za-z0-9+.\-]*://(?:[^/?#@\\\s]*@)?(\[[0-9A-Fa-f:.]{2,45}\]|[^/?#@:\\\s\[\]]{1,253})(?::[0-9]{0,5})?(?![^/?#])"
)

Value = str | int | bool


def read_name(value: object) -> str | None:
    """1 to 120 characters."""
    if isinstance(value, str) and 0 < len(value) <= MAX_NAME:
        return value if value != PAGEVIEW else None
    raise RefusedError(Reason.BAD_NAME)


def read_url(value: object) -> str:
    """An absolute URL with a host, as it was sent."""
    if isinstance(value, str) and len(value) <= MAX_URL and to_host(value) is not None:
        return value
    raise RefusedError(Reason.BAD_URL)


@lru_cache(4096)
def to_host(url: str) -> str | None:
    """Give the host of a URL in lower case without `www.` and port; None when it has none."""
    found = URL.match(url)
    return None if found is None else found[1].lower().removeprefix("www.")


def read_event_id(value: object) -> str:
    """A UUID in lower case."""
    if isinstance(value, str) and value.encode("ascii", "replace").translate(TO_ZEROS) == UUID_SHAPE:
        return value.lower()
    raise RefusedError(Reason.BAD_EVENT_ID)


def _text_reader(reason: Reason, length: int) -> Callable[[object], str | None]:
    def read(value: object) -> str | None:
        if isinstance(value, str):
            return value[:length] or None
        raise RefusedError(reason)

    return read


def read_attempt(value: object) -> int | None:
    """1 is the first send and not worth writing."""
    attempt = _read_attempt(value)
    return attempt if attempt > 1 else None


def _number_reader(reason: Reason, least: int, most: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        number = int(value) if isinstance(value, float) and value.is_integer() else value
        # type(), because True is an int.
        if type(number) is int and least <= number <= most:
            return number
        raise RefusedError(reason)

    return read


def read_user_id(value: object) -> str | None:
    """At most 128 characters; empty is anonymous."""
    if isinstance(value, str) and len(value) <= MAX_USER_ID:
        return value or None
    raise RefusedError(Reason.BAD_USER_ID)


def read_interactive(value: object) -> bool | None:
    """Only false is worth writing."""
    if isinstance(value, bool):
        return None if value else False
    raise RefusedError(Reason.BAD_INTERACTIVE)


def read_props(value: object) -> str | None:
    """Scalars under at most 30 keys, as JSON text; null values are left out."""
    if not isinstance(value, dict) or len(value) > MAX_PROPS:
        raise RefusedError(Reason.BAD_PROPS)
    kept = {key: prop for key, prop in value.items() if prop is not None}
    for key, prop in kept.items():
        fits = len(prop) <= MAX_PROP if isinstance(prop, str) else isinstance(prop, int | float)
        if not fits or not 0 < len(key) <= MAX_NAME:
            raise RefusedError(Reason.BAD_PROPS)
    return orjson.dumps(kept).decode() if kept else None


def read_revenue(value: object) -> tuple[str, str]:
    """The amount as decimal text with at most four places (rounded half to even) and the currency in upper case."""
    if not isinstance(value, dict):
        raise RefusedError(Reason.BAD_REVENUE)
    currency = value.get("currency")
    if not isinstance(currency, str) or not CURRENCY.fullmatch(currency):
        raise RefusedError(Reason.BAD_REVENUE)
    return _read_amount(value.get("amount")), currency.upper()


def _read_amount(value: object) -> str:
    text = "" if isinstance(value, bool) or not isinstance(value, int | float | str) else str(value)
    if not AMOUNT.fullmatch(text):
        raise RefusedError(Reason.BAD_REVENUE)
    amount = Decimal(text)
    # Compared before and after rounding, which can add a digit and fails on a number that is far too large.
    if abs(amount) < MAX_AMOUNT and abs(amount := amount.quantize(FOUR_PLACES)) < MAX_AMOUNT:
        return f"{amount + 0:f}"  # + 0 takes the sign off -0
    raise RefusedError(Reason.BAD_REVENUE)


def read_instant(value: object) -> int:
    """Epoch milliseconds of a number, or of ISO 8601 text (UTC where it has no offset), within what can be stored."""
    instant = _to_milliseconds(value)
    if instant is None or not FIRST_INSTANT <= instant <= LAST_INSTANT:
        raise RefusedError(Reason.BAD_TIMESTAMP)
    return instant


def _to_milliseconds(value: object) -> int | None:
    if type(value) is int:
        return value
    if isinstance(value, float):  # performance.timeOrigin has fractions; orjson lets no infinity through
        return int(value)
    if not isinstance(value, str) or len(value) > MAX_NUMBER_TEXT:
        return None
    try:
        instant = datetime.fromisoformat(value)
        return ((instant if instant.tzinfo else instant.replace(tzinfo=UTC)) - EPOCH) // MILLISECOND
    except (ValueError, OverflowError):
        return None


def read_ip(value: object) -> Client:
    """The client whose address it is."""
    client = read_client(value) if isinstance(value, str) else None
    if client is None:
        raise RefusedError(Reason.BAD_IP)
    return client


_read_attempt = _number_reader(Reason.BAD_ATTEMPT, 1, MAX_ATTEMPT)


def read_user_agent(value: object) -> str:
    """Text, cut."""
    return _read_user_agent(value) or ""


_read_user_agent = _text_reader(Reason.BAD_USER_AGENT, MAX_USER_AGENT)

# Fields of everybody that go into the line under their own name; admit reads url, revenue, the times and what is a
# server's alone by name.
PUBLIC_FIELDS: Mapping[str, Callable[[object], Value | None]] = {
    "name": read_name,
    "event_id": read_event_id,
    "referrer": _text_reader(Reason.BAD_REFERRER, MAX_URL),
    "title": _text_reader(Reason.BAD_TITLE, MAX_TITLE),
    "props": read_props,
    "user_id": read_user_id,
    "screen_width": _number_reader(Reason.BAD_SCREEN_WIDTH, 0, MAX_SCREEN),
    "language": _text_reader(Reason.BAD_LANGUAGE, MAX_TAG),
    "timezone": _text_reader(Reason.BAD_TIMEZONE, MAX_TAG),
    "interactive": read_interactive,
    "engaged_ms": _number_reader(Reason.BAD_ENGAGEMENT, 0, MAX_ENGAGED_MS),
    "scroll_depth": _number_reader(Reason.BAD_SCROLL_DEPTH, 0, MAX_SCROLL),
    "attempt": read_attempt,
}
