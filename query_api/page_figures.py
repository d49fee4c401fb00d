"""What /v1/pages says of a page beside its visitors and views: only for the pages that are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from query_api.planner import POSITION, fill

if TYPE_CHECKING:
    from collections.abc import Sequence

    from query_api.asking import Asking
    from query_api.question import Range

# Kinds of figures in page_figures.sql.
VIEW, FIRST_VIEW, ENTRY, EXIT, DEPTH = range(5)
KINDS = 8
COLUMN = "bitShiftLeft(toUInt64({number}), 40) + bitShiftLeft(toUInt64(scroll_depth + 1), 32) + engaged_ms"


async def read_page_figures(asking: Asking, range_: Range, pages: Sequence[str]) -> dict[str, dict[str, int]]:
    """Sums by page in the names that the quotients know, zeros where there is nothing."""
    plan = asking.plan(range_)
    numbers = plan.bindings.bind(list(range(1, len(pages) + 1)), "Array(UInt16)")
    number = f"transform(pathname, {plan.bindings.bind(list(pages), 'Array(String)')}, {numbers}, toUInt16(0))"
    visits = plan.visits(of_records=[COLUMN.format(number=number)], order=POSITION)
    rows = await asking.read(fill("page_figures", visits=visits), plan)
    found = {divmod(row.sums["page_and_kind"], KINDS): (row.sums["figures"], row.sums["value"]) for row in rows}
    return {
        page: _to_sums({kind: found.get((place, kind), (0, 0)) for kind in range(5)})
        for place, page in enumerate(pages, 1)
    }


def _to_sums(figures: dict[int, tuple[int, int]]) -> dict[str, int]:
    return {
        "duration": figures[VIEW][1] + figures[FIRST_VIEW][1],
        "sessions": figures[FIRST_VIEW][0],
        "entered": figures[ENTRY][0],
        "entries": figures[ENTRY][0],
        "bounces": figures[ENTRY][1],
        "exits": figures[EXIT][0],
        "deep": figures[DEPTH][0],
        "depth": figures[DEPTH][1],
    }
