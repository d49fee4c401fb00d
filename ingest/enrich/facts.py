"""What enrichment must know besides the lines. With the same lines and facts every machine makes the same rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from ingest.enrich.geo import Geo


class MissingFactsError(LookupError):
    """The caller gave no facts for a site, or no salt for a local date, that is in the lines."""


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """A site: its domain, the permanent key of its identified visitors, hostnames that are its own besides."""

    domain: str
    visitor_key: bytes = field(repr=False)
    hostnames: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts for one batch: a site for every site_id, a salt for every local date, places if a database is there."""

    sites: Mapping[int, SiteFacts]
    salts: Mapping[date, bytes] = field(repr=False)
    geo: Geo | None = None

    def site(self, site_id: int) -> SiteFacts:
        """Give the site's facts; raise MissingFactsError."""
        try:
            return self.sites[site_id]
        except KeyError:
            message = f"no facts of site {site_id}"
            raise MissingFactsError(message) from None

    def salt(self, day: date) -> bytes:
        """Give the salt of a local date; raise MissingFactsError, since inventing one would split visitors."""
        try:
            return self.salts[day]
        except KeyError:
            message = f"no salt of {day}"
            raise MissingFactsError(message) from None
