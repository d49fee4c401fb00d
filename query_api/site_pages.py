"""The list of sites in pages: its parameters and rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast, get_args

from query_api.errors import BadRequestError
from query_api.question import Format, Problem
from query_api.reading import tell_unknown
from schemas.api import SiteRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from query_api.control.sites import Site
    from query_api.question import Row

SITE_COLUMNS = tuple(SiteRow.model_fields)
PER_PAGE = 20
MOST_PER_PAGE = 1000
LAST_PAGE = 1_000_000
BOUNDS = {"page": LAST_PAGE, "per_page": MOST_PER_PAGE}
NAMES = (*BOUNDS, "format")


@dataclass(frozen=True, slots=True)
class Page:
    """Which sites were asked for; pages count from 1."""

    number: int = 1
    per_page: int = PER_PAGE
    format: Format | None = None

    def cut(self, sites: Sequence[Site]) -> Sequence[Site]:
        """The sites of this page; none beyond the last."""
        return sites[(self.number - 1) * self.per_page : self.number * self.per_page]

    def to_meta(self, total: int) -> dict[str, int]:
        """What the caller must know to go on."""
        pages = -(-total // self.per_page)
        return {"page": self.number, "per_page": self.per_page, "total": total, "pages": pages}

    def to_following(self, total: int) -> str:
        """The query of the next page; empty after the last."""
        return f"page={self.number + 1}&per_page={self.per_page}" if self.number * self.per_page < total else ""


def parse_page(query: Sequence[tuple[str, str]]) -> Page:
    """Read the parameters; BadRequestError names every problem."""
    problems = [problem for name, value in query if (problem := _find_problem(name, value))]
    names = [name for name, _ in query]
    problems += [Problem(name, f"{name}: write it once") for name in NAMES if names.count(name) > 1]
    if problems:
        raise BadRequestError.of(problems)
    given = dict(query)
    asked = cast("Format | None", given.get("format"))
    return Page(int(given.get("page", 1)), int(given.get("per_page", PER_PAGE)), asked)


def to_site_row(site: Site) -> Row:
    """A row of `/v1/sites`."""
    return {
        "id": site.id,
        "domain": site.domain,
        "name": site.name,
        "site_key": site.site_key,
        "is_active": site.is_active,
        "created_at": site.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "timezone": site.timezone,
    }


def _find_problem(name: str, value: str) -> Problem | None:
    if name == "format":
        known = get_args(Format)
        return None if value in known else Problem(name, f"format: {value!r} is none of {', '.join(known)}")
    if name not in BOUNDS:
        return Problem(name, tell_unknown(name, NAMES))
    if value.isascii() and value.isdecimal() and len(value) <= len(str(LAST_PAGE)) and 1 <= int(value) <= BOUNDS[name]:
        return None
    return Problem(name, f"{name}: write a whole number from 1 to {BOUNDS[name]}")
