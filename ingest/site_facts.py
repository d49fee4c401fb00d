"""What enrichment may know of the sites, as new as the control plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from ingest.enrich.facts import SiteFacts
from schemas.control.changes import ControlChanges
from schemas.control.tables import sites

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

FACTS = select(sites.c.id, sites.c.domain, sites.c.visitor_key, sites.c.allowed_hostnames).where(
    sites.c.deleted_at.is_(None)
)


class SiteFactsReader:
    """Reads the facts of every site that is not deleted; again only after the control plane changed."""

    def __init__(self, control: AsyncEngine) -> None:
        self._control = control
        self._changes: ControlChanges | None = None
        self._version: tuple[int, int] | None = None
        self._facts: Mapping[int, SiteFacts] = {}

    async def read(self) -> Mapping[int, SiteFacts]:
        """Give everything that was committed before this call; raise SQLAlchemyError."""
        if self._changes is None:
            self._changes = ControlChanges(self._control)
        version = self._changes.read_version()
        if version != self._version:
            async with self._control.connect() as connection:
                rows = (await connection.execute(FACTS)).all()
            self._facts = {
                row.id: SiteFacts(row.domain, row.visitor_key, to_own_hostnames(row.allowed_hostnames)) for row in rows
            }
            self._version = version
        return self._facts

    def close(self) -> None:
        """Look no more."""
        if self._changes is not None:
            self._changes.close()
            self._changes = None


def to_own_hostnames(allowed: Sequence[str]) -> frozenset[str]:
    """The hostnames among the allowed ones that are one host, in lower case without `www.`."""
    names = (name.strip().lower().removeprefix("www.") for name in allowed)
    return frozenset(name for name in names if name and not name.startswith("*."))
