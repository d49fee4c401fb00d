"""What a referrer says: where a visitor came from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ingest.enrich.sources import Source
from ingest.enrich.urls import split_url

if TYPE_CHECKING:
    from ingest.enrich.sources import Register

WEB = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://")
HOST = re.compile(r"[^\s/?#@]+\.[^\s/?#@.]+(?:[:/?#]|$)")


class Referral(NamedTuple):
    """`url` has no scheme, www., query and fragment; `name` and `category` are of its source. All empty: none."""

    url: str
    host: str
    name: str
    category: str


NONE = Referral("", "", "", "")


class ReferralReader:
    """Reads referrers with the register of sources."""

    def __init__(self, register: Register) -> None:
        """Take the register."""
        self._register = register

    def read(self, referrer: str) -> Referral:
        """Take any text; what is neither a URL nor begins like a host (`-`, `(direct)`) is no referrer."""
        text = referrer.strip()
        if not WEB.match(text):
            if not HOST.match(text):
                return NONE
            text = f"//{text}"
        host, path, _ = split_url(text)
        if not host:
            return NONE
        source = self._register.find_host(host) or Source(host, "")
        return Referral(host + ("" if path == "/" else path), host, source.name, source.category)
