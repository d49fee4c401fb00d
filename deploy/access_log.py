"""Reads the lines of a web server's access log: combined and common format, and JSON lines as Caddy writes them.

Pure: bytes in, `Hit` or the reason why the line is no page view out. A line is a page view when the method is GET, the
status 200-299 or 304, and the last path segment has no dot or ends in one of `PAGE_SUFFIXES`; every other line has the
first reason of `SkipReason` that applies.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

import orjson

PAGE_SUFFIXES = frozenset({"html", "htm", "php", "asp", "aspx", "jsp"})
NOT_MODIFIED = 304
MONTHS = dict(
    zip(("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), range(1, 13), strict=True)
)

QUOTED = r'"([^"\\]*(?:\\.[^"\\]*)*)"'
LINE = re.compile(
    r"(\S+) \S+ [^\[]*\[([^\]]+)\] "  # address, identity, user, time
    + QUOTED  # the request
    + r" (\d{3}) (?:\d+|-)"  # status, bytes
    + f"(?: {QUOTED} {QUOTED}(?: .*)?)?",  # referrer, user agent; some servers append fields
    re.ASCII,
)
MINUTE = re.compile(r"(\d{2})/([A-Z][a-z]{2})/(\d{4}):(\d{2}):(\d{2}) ([+-])(\d{2})(\d{2})")
SECONDS = {f":{second:02}": second * 1000 for second in range(60)}


class SkipReason(StrEnum):
    """Why a line is no page view, in the order in which the reasons are tried."""

    MALFORMED = "malformed"
    METHOD = "method"
    STATUS = "status"
    ASSET = "asset"


class Hit(NamedTuple):
    """One request for a page: client address, epoch milliseconds, path with query, referrer and user agent."""

    address: str
    ts: int
    target: str
    referrer: str
    user_agent: str


class Request(NamedTuple):
    """One line of a log, whatever its format."""

    hit: Hit
    method: str
    status: int


def read_hit(line: bytes) -> Hit | SkipReason:
    """The page view of a line (without its line end), or the first reason why it is none."""
    request = read_json(line) if line.startswith(b"{") else read_combined(line)
    if request is None:
        return SkipReason.MALFORMED
    if request.method != "GET":
        return SkipReason.METHOD
    if not (200 <= request.status <= 299 or request.status == NOT_MODIFIED):  # noqa: PLR2004 - as the rule is written
        return SkipReason.STATUS
    return request.hit if is_page(request.hit.target) else SkipReason.ASSET


@lru_cache(maxsize=32_768)
def is_page(target: str) -> bool:
    """Whether the last path segment has no dot, or a page's ending after its last dot."""
    segment = target.partition("?")[0].partition("#")[0].rpartition("/")[2]
    _, dot, suffix = segment.rpartition(".")
    return not dot or suffix in PAGE_SUFFIXES


def read_combined(line: bytes) -> Request | None:
    """A line of combined or common log format; None when it is malformed.

    Bytes that are no UTF-8 become U+FFFD, so that no line is lost for a byte.
    """
    match = LINE.fullmatch(line.decode("utf-8", "replace"))
    if match is None:
        return None
    address, time, request, status, referrer, user_agent = match.groups()
    asked, ts = read_request(request), read_time(time)
    if asked is None or ts is None:
        return None
    method, target = asked
    return Request(Hit(address, ts, target, to_field(referrer), to_field(user_agent)), method, int(status))


@lru_cache(maxsize=32_768)  # most lines ask for what another has asked for
def read_request(text: str) -> tuple[str, str] | None:
    """Method and target of `GET /a?b HTTP/1.1`, None when there are no such two."""
    parts = text.split(" ")
    if len(parts) < 2 or not parts[0].isalpha():  # noqa: PLR2004 - method and target
        return None
    words = parts[1:-1] if len(parts) > 2 and parts[-1].startswith("HTTP/") else parts[1:]  # noqa: PLR2004
    return parts[0], to_target(" ".join(words))


def read_json(line: bytes) -> Request | None:
    """A JSON line of Caddy's access log; None when it is malformed or no access line."""
    try:
        entry = orjson.loads(line)
        request = entry["request"]
        headers = {name.lower(): values[0] for name, values in request.get("headers", {}).items() if values}
        address = request.get("client_ip") or request.get("remote_ip") or request["remote_addr"].rpartition(":")[0]
        hit = Hit(
            str(address).strip("[]"),
            to_epoch(entry["ts"]),
            to_target(str(request["uri"])),
            str(headers.get("referer", "")),
            str(headers.get("user-agent", "")),
        )
        return Request(hit, str(request["method"]), int(entry["status"]))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None


def to_epoch(value: object) -> int:
    """Caddy's `ts`: epoch seconds as a number, or ISO 8601. Raise TypeError or ValueError for anything else."""
    if isinstance(value, str):
        instant = datetime.fromisoformat(value)
        return round((instant if instant.tzinfo else instant.replace(tzinfo=timezone.utc)).timestamp() * 1000)  # noqa: UP017 - one name for both uses
    if isinstance(value, bool) or not isinstance(value, int | float):
        message = f"no time: {value!r}"
        raise TypeError(message)
    return int(value * 1000)


def read_time(text: str) -> int | None:
    """Epoch milliseconds of `17/May/2015:10:05:03 +0000`, None for anything else."""
    minute, second = read_minute(text[:17] + text[20:]), SECONDS.get(text[17:20])
    return None if minute is None or second is None else minute + second


@lru_cache(maxsize=4096)  # neighbouring lines share their minute
def read_minute(text: str) -> int | None:
    """Epoch milliseconds of `17/May/2015:10:05 +0000`, None for anything else."""
    match = MINUTE.fullmatch(text)
    if match is None or match[2] not in MONTHS:
        return None
    day, year, hour, minute = (int(match[group]) for group in (1, 3, 4, 5))
    offset = timedelta(hours=int(match[7]), minutes=int(match[8])) * (1 if match[6] == "+" else -1)
    try:
        instant = datetime(year, MONTHS[match[2]], day, hour, minute, tzinfo=timezone(offset))
    except ValueError:
        return None
    return round(instant.timestamp() * 1000)


def to_target(text: str) -> str:
    """Path and query of a request target; an absolute one loses scheme and host."""
    if text.startswith("/"):
        return text
    try:
        parts = urlsplit(text)
    except ValueError:
        return "/"
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


@lru_cache(maxsize=4096)  # few referrers and user agents make most lines
def to_field(value: str | None) -> str:
    """A quoted field without its escapes; `-` and an absent one are empty."""
    if value is None or value == "-":
        return ""
    return value.replace('\\"', '"').replace("\\\\", "\\")
