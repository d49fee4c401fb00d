"""The demo site and its numbers: the product's own reports, of the demo's pages alone, for everybody.

The site is the one that the first start makes. A newcomer may have put its snippet into other pages; so the questions
carry a condition that leaves only what happened on `/demo/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from query_api.control.first_start import DEMO
from query_api.control.sites import to_site
from query_api.families import REPORTS
from query_api.handlers import to_completeness
from query_api.params import parse_question
from query_api.question import Access, SiteView
from query_api.reports import answer
from schemas.control.tables import sites

if TYPE_CHECKING:
    from query_api.control.sites import Site
    from query_api.deps import Deps
    from query_api.limits import Admission
    from query_api.question import Row

PATH = "/demo/"
ONLY_DEMO = ("filters", f"pathname=^{PATH}")
TODAY = ("period", "today")
QUESTIONS = {
    "stats": (TODAY, ONLY_DEMO),
    "pages": (TODAY, ONLY_DEMO, ("limit", "5")),
    "events": (TODAY, ONLY_DEMO, ("limit", "5")),
    "realtime": (ONLY_DEMO,),
}


@dataclass(frozen=True, slots=True)
class DemoNumbers:
    """Reads the numbers of the demo site through the same questions and the same admission as any key's."""

    deps: Deps
    admission: Admission

    async def read(self) -> dict[str, object]:
        """`site` is None where there is no demo site; else one list of rows per report."""
        site = await find_demo_site(self.deps)
        if site is None:
            return {"site": None}
        completeness = await self.deps.read_completeness()
        numbers: dict[str, object] = {name: await self._ask(site, name) for name in QUESTIONS}
        return {"site": site.name, **numbers, "completeness": to_completeness(completeness)}

    async def _ask(self, site: Site, report: str) -> list[Row]:
        deps = self.deps
        access = Access((SiteView(site.id, site.domain, site.timezone),))
        question = parse_question(REPORTS[report], list(QUESTIONS[report]), access, deps.now())
        async with self.admission.enter():
            return (await answer(question, deps.warehouse, deps.now(), deps.limits)).rows


async def find_demo_site(deps: Deps) -> Site | None:
    """The first active site with the demo's domain, never its twin in the sandbox."""
    wanted = (sites.c.domain == DEMO.domain) & sites.c.sandbox.is_(False)
    there = sites.c.deleted_at.is_(None) & sites.c.is_active
    async with deps.control.connect() as connection:
        row = (await connection.execute(select(sites).where(wanted, there).order_by(sites.c.id).limit(1))).one_or_none()
    return None if row is None else to_site(row)
