"""What /v1/pages says of a page beside its visitors and views: only for the pages that are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from query_api.planner import BELONGS, POSITION, fill

if TYPE_CHECKING:
    from collections.abc import Sequence

    from query_api.asking import Asking
    from query_api.question import Range

NOTHING = dict.fromkeys(("time", "viewed", "depth", "deep", "entries", "exits", "bounces"), 0)


async def read_page_figures(asking: Asking, range_: Range, pages: Sequence[str]) -> dict[str, dict[str, int]]:
    """Sums by page, zeros where there is nothing, in the names that the quotients know."""
    plan = asking.plan(range_)
    numbers = plan.bindings.bind(list(range(1, len(pages) + 1)), "Array(UInt16)")
    number = f"transform(pathname, {plan.bindings.bind(list(pages), 'Array(String)')}, {numbers}, toUInt16(0))"
    visits = plan.visits(of_records=(number, "engaged_ms", "scroll_depth", BELONGS), order=POSITION)
    rows = await asking.read(fill("page_figures", visits=visits), plan)
    found = {row.sums["page"]: row.sums for row in rows}
    return {page: _to_names(found.get(place, NOTHING)) for place, page in enumerate(pages, 1)}


def _to_names(sums: dict[str, int]) -> dict[str, int]:
    return {
        "duration": sums["time"],
        "sessions": sums["viewed"],
        "entered": sums["entries"],
        **{name: sums[name] for name in ("depth", "deep", "entries", "exits", "bounces")},
    }
