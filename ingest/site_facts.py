"""What enrichment may know of the sites, as new as the control plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from ingest.enrich.facts import SiteFacts
from schemas.control.changes import ControlChanges
from schemas.control.tables import sites
from schemas.control.view import ControlView

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

FACTS = select(sites.c.id, sites.c.domain, sites.c.visitor_key, sites.c.allowed_hostnames).where(
    sites.c.deleted_at.is_(None)
)


class SiteFactsReader:
    """Reads the facts of every site that is not deleted; again only after the control plane changed."""

    def __init__(self, control: AsyncEngine) -> None:
        self._control = control
        self._changes: ControlChanges | None = None
        self._view: ControlView[Mapping[int, SiteFacts]] | None = None

    async def read(self) -> Mapping[int, SiteFacts]:
        """Give everything that was committed before this call; raise SQLAlchemyError."""
        if self._changes is None or self._view is None:
            self._changes = ControlChanges(self._control)
            self._view = ControlView(self._control, self._changes, read_facts, {}, apart=0)
        return await self._view.look()

    def close(self) -> None:
        """Look no more."""
        if self._view is not None and self._changes is not None:
            self._view.close()
            self._changes.close()
            self._view = self._changes = None


async def read_facts(connection: AsyncConnection) -> Mapping[int, SiteFacts]:
    """What there is, by site id."""
    rows = (await connection.execute(FACTS)).all()
    return {row.id: SiteFacts(row.domain, row.visitor_key, to_own_hostnames(row.allowed_hostnames)) for row in rows}


def to_own_hostnames(allowed: Sequence[str]) -> frozenset[str]:
    """The hostnames among the allowed ones that are one host, in lower case without `www.`."""
    names = (name.strip().lower().removeprefix("www.") for name in allowed)
    return frozenset(name for name in names if name and not name.startswith("*."))
