"""The parts of a URL that count. Nothing here raises: any text is a URL of some hostname and pathname.

The path stays as it was sent (METRICS.md), so the standard library's parsers, which normalise and refuse, do not do.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_plus

LONGEST = 200  # characters of a query value; more is no campaign but an accident
AUTHORITY = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.\-]*:)?//([^/?#\\]*)")
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
PORT = re.compile(r":\d*$")

CAMPAIGN = ("utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term")
ASKED = ("utm_source", "source", "ref")  # where a source is looked for, in this order
# Click ids in the order in which one is chosen: those that an advertiser paid for first.
CLICK_IDS = (
    "gclid",
    "gbraid",
    "wbraid",
    "dclid",
    "msclkid",
    "ttclid",
    "twclid",
    "li_fat_id",
    "rdt_cid",
    "epik",
    "ScCid",
    "yclid",
    "fbclid",
    "igshid",
    "mc_eid",
)
WANTED = frozenset({*CAMPAIGN, *ASKED, *CLICK_IDS})


class UrlParts(NamedTuple):
    """What a page's URL says. `asked` is the source that it names itself, empty without one."""

    hostname: str
    pathname: str
    utm_source: str
    utm_medium: str
    utm_campaign: str
    utm_content: str
    utm_term: str
    click_id: str
    asked: str


def split_url(url: str) -> tuple[str, str, str]:
    """Give hostname (lower case, no www., no port), path as it was sent ("" if there is none), and query."""
    rest, _, _ = url.partition("#")
    rest, _, query = rest.partition("?")
    if found := AUTHORITY.match(rest):
        return to_hostname(found[1]), rest[found.end() :], query
    return "", SCHEME.sub("", rest, count=1), query


def to_hostname(authority: str) -> str:
    """Give the host of an authority: lower case, without user, port and a leading www."""
    return PORT.sub("", authority.rpartition("@")[2]).lower().removeprefix("www.")


def read_query(query: str) -> dict[str, str]:
    """Give the wanted parameters, decoded and cut: of each name the first value that is not empty."""
    found: dict[str, str] = {}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name in WANTED and name not in found and (text := to_text(value)):
            found[name] = text
    return found


def to_text(value: str) -> str:
    """Decode a query value; bytes that are not UTF-8 become U+FFFD, a broken escape stays as it is."""
    return unquote_plus(value).strip()[:LONGEST] if value else ""


def to_url_parts(url: str) -> UrlParts:
    """Take a page's URL apart."""
    hostname, path, query = split_url(url)
    if not query:
        return UrlParts(hostname, path or "/", "", "", "", "", "", "", "")
    found = read_query(query)
    source, medium, campaign, content, term = (found.get(name, "") for name in CAMPAIGN)
    click_id = next((name for name in CLICK_IDS if name in found), "")
    asked = next((found[name] for name in ASKED if name in found), "")
    return UrlParts(hostname, path or "/", source, medium, campaign, content, term, click_id, asked)
