"""One event as the query of an image, for pages without scripts."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import orjson

from ingest.decode import Unreadable
from ingest.refused import Reason

if TYPE_CHECKING:
    from aiohttp import web

GIF = base64.b64decode("R0lGODlhAQABAIAAAP///wAAACH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==")
PIXEL = "Content-Type: image/gif\r\nCache-Control: no-store\r\nCross-Origin-Resource-Policy: cross-origin\r\n"
MAX_PARAMETERS = 60
NUMBERS = frozenset({"screen_width", "engaged_ms", "scroll_depth", "attempt", "timestamp", "sent_at"})
OBJECTS = frozenset({"props", "revenue"})
FLAGS = {"true": True, "false": False, "1": True, "0": False}


def to_record(request: web.BaseRequest) -> object:
    """Give the event of a query: fields by their names, `props` and `revenue` as JSON; `url` is else the Referer."""
    try:
        pairs = parse_qsl(
            request.raw_path.partition("?")[2], errors="replace", max_num_fields=MAX_PARAMETERS, keep_blank_values=True
        )
    except ValueError:
        return Unreadable(Reason.MALFORMED, "")
    record: dict[str, object] = {name: to_value(name, text) for name, text in pairs}
    record.setdefault("url", request.headers.get("Referer", "").encode("utf-8", "replace").decode())
    if any("\0" in text for _, text in pairs):
        return Unreadable(Reason.NUL, str(record.get("site_key", "")))
    return record


def to_value(name: str, text: str) -> object:
    """Give a parameter as the JSON value it stands for, or as text."""
    if name in NUMBERS and text.isascii() and text.isdigit() and len(text) < 16:  # noqa: PLR2004 - an exact integer
        return int(text)
    if name == "interactive":
        return FLAGS.get(text, text)
    if name not in OBJECTS:
        return text
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
