"""One event as the query of an image, for pages without scripts."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import orjson

if TYPE_CHECKING:
    from aiohttp import web

GIF = base64.b64decode("R0lGODlhAQABAIAAAP///wAAACH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==")
PIXEL = "Content-Type: image/gif\r\nCache-Control: no-store\r\nCross-Origin-Resource-Policy: cross-origin\r\n"
MAX_PARAMETERS = 60
EXACT_DIGITS = 15
NUMBERS = frozenset({"screen_width", "engaged_ms", "scroll_depth", "attempt", "timestamp", "sent_at"})
OBJECTS = frozenset({"props", "revenue"})
FLAGS = {"true": True, "false": False, "1": True, "0": False}


def to_body(request: web.BaseRequest) -> bytes:
    """Give the event of a query as JSON: fields by their names; `url` is else the page that the image is in."""
    query = request.raw_path.partition("?")[2]
    try:
        pairs = parse_qsl(query, errors="replace", max_num_fields=MAX_PARAMETERS, keep_blank_values=True)
    except ValueError:
        return b"{"  # too many: refused like any other that cannot be read
    record: dict[str, object] = {to_unicode(name): to_value(name, to_unicode(text)) for name, text in pairs}
    record.setdefault("url", to_unicode(request.headers.get("Referer", "")))
    return orjson.dumps(record)


def to_unicode(text: str) -> str:
    """Replace what came as raw bytes that are not UTF-8."""
    return text.encode("utf-8", "replace").decode()


def to_value(name: str, text: str) -> object:
    """Give a parameter as the JSON value it stands for, or as text."""
    if name in NUMBERS and text.isascii() and text.isdigit() and len(text) <= EXACT_DIGITS:
        return int(text)
    if name == "interactive":
        return FLAGS.get(text, text)
    if name not in OBJECTS:
        return text
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
