"""What can be filtered and grouped by: each dimension, whose it is, and its column of `events`."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

# event: of each event. session: of the session's first counted event. entry, exit: of its first, its last pageview.
Owner = Literal["event", "session", "entry", "exit"]
PROPS = "props."
ANY = "any."


@dataclass(frozen=True, slots=True)
class Dimension:
    """A name that questions use, whose attribute it is, and the column that holds it."""

    name: str
    owner: Owner
    column: str
    meaning: str


ROWS = (
    Dimension("pathname", "event", "pathname", "path of the URL as it was sent"),
    Dimension("hostname", "event", "hostname", "host without www. and port"),
    Dimension("event_name", "event", "name", "pageview or the custom event's name"),
    Dimension("entry_page", "entry", "pathname", "path of the session's first pageview, empty without one"),
    Dimension("exit_page", "exit", "pathname", "path of the session's last pageview, empty without one"),
    Dimension("referrer", "session", "referrer", "referring URL without scheme, www., query and fragment"),
    Dimension("referrer_source", "session", "referrer_source", "where the session came from, or Direct"),
    Dimension("channel", "session", "channel", "grouping of the source"),
    Dimension("utm_source", "session", "utm_source", "campaign parameter"),
    Dimension("utm_medium", "session", "utm_medium", "campaign parameter"),
    Dimension("utm_campaign", "session", "utm_campaign", "campaign parameter"),
    Dimension("utm_content", "session", "utm_content", "campaign parameter"),
    Dimension("utm_term", "session", "utm_term", "campaign parameter"),
    Dimension("country", "session", "country", "ISO 3166-1 alpha-2 code"),
    Dimension("region", "session", "region", "region within the country"),
    Dimension("city", "session", "city", "city, an estimate"),
    Dimension("device_type", "session", "device_type", "desktop, mobile, tablet or other"),
    Dimension("browser", "session", "browser", "browser family"),
    Dimension("browser_version", "session", "browser_version", "browser version"),
    Dimension("os", "session", "os", "operating system"),
    Dimension("os_version", "session", "os_version", "version of the operating system"),
    Dimension("language", "session", "language", "the browser's language"),
    Dimension("screen", "session", "screen", "screen class"),
)

DIMENSIONS: Mapping[str, Dimension] = MappingProxyType({dimension.name: dimension for dimension in ROWS})

# What may stand in a filter besides the names above.
OPEN_NAMES = (f"{PROPS}<key>", f"{ANY}event_name", f"{ANY}pathname", f"{ANY}{PROPS}<key>")
ANY_NAMES = ("event_name", "pathname")


def is_filterable(name: str) -> bool:
    """Whether a filter may name it: a dimension, `props.<key>`, or `any.` before event_name, pathname, props.<key>."""
    bare = name.removeprefix(ANY)
    if bare.startswith(PROPS):
        return len(bare) > len(PROPS)
    return bare in (DIMENSIONS if bare == name else ANY_NAMES)
