"""From sums to figures: the only place where a quotient is made, after everything has been summed over sites."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from query_api.question import Value

Sums = dict[str, int]


def to_quotient(top: int, bottom: int, digits: int) -> float:
    """A rate or mean over integers; 0 over nothing.

    `round(top / bottom, digits)`, as anybody who checks a figure will write it: the quotient is the nearest double
    (division of integers rounds correctly), so a tie such as 2.55 falls as Python's own does.
    """
    return round(top / bottom, digits) if bottom else 0.0


def to_figure(measure: str, sums: Mapping[str, int]) -> Value:
    """One figure out of the sums that a query gave."""
    match measure:
        case "bounce_rate":
            return to_quotient(sums["bounces"], sums["entered"], 4)
        case "avg_duration":  # of sessions, or of the views of a page
            return to_quotient(sums["duration"], 1000 * sums["sessions"], 1)
        case "views_per_session":
            return to_quotient(sums["pageviews"], sums["sessions"], 2)
        case "scroll_depth":
            return to_quotient(sums["depth"], sums["deep"], 1)
        case "conversion_rate":
            return to_quotient(sums["visitors"], sums["visitors_without"], 4)
        case _:
            return sums[measure]
