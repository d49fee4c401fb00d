"""The flags of a record: all that a question asks of the record by itself.

Filters are decided once a row, where columns are cheap to read, so sessions are made of numbers only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from query_api.conditions import TRUE, all_of

if TYPE_CHECKING:
    from query_api.conditions import Bindings, Conditions

COUNTED = "name != 'engagement'"
VIEW = "name = 'pageview'"
SETTLES = "interactive AND name NOT IN ('pageview', 'engagement')"

# In the order of their bits; the texts of sql/ know them by number. Those without conditions are not asked for.
FLAGS = (
    "counted",  # 0: a pageview or custom event
    "view",  # 1
    "settles",  # 2: an interactive custom event, which no bounce has
    "kept",  # 3: counted, and meets the event conditions
    "inside",  # 4: lies in the range
    "fits",  # 5: meets the conditions on attributes of the session
    "entry",  # 6: its path meets the conditions on the entry page
    "exit",  # 7: and those on the exit page
    "asked",  # 8: its path meets the conditions on pathname
    "any_of",  # 9: counted, and meets all `any.` conditions
    "none_of",  # 10: counted, and has what no event of the session may have
    # 11 is set by sessions.sql: engagement that belongs to the session
)


def to_flags(conditions: Conditions, inside: str, bindings: Bindings) -> str:
    """SQL of a record's flags; `inside` is the condition of the range."""
    none_of = " OR ".join(f"NOT ({all_of((one,), bindings)})" for one in conditions.none_of)
    tests = {
        "counted": COUNTED,
        "view": VIEW,
        "settles": SETTLES,
        "kept": f"{COUNTED} AND {all_of(conditions.event, bindings)}" if conditions.event else COUNTED,
        "inside": inside,
        "fits": all_of(conditions.session, bindings) if conditions.session else "",
        "entry": all_of(conditions.entry, bindings, "pathname") if conditions.entry else "",
        "exit": all_of(conditions.exit, bindings, "pathname") if conditions.exit else "",
        "asked": all_of(conditions.pathname, bindings) if conditions.pathname else "",
        "any_of": f"{COUNTED} AND {all_of(conditions.any_of, bindings)}" if conditions.any_of else "",
        "none_of": f"{COUNTED} AND ({none_of})" if none_of else "",
    }
    weights: dict[str, int] = {}
    for bit, name in enumerate(FLAGS):
        if tests[name]:
            weights[tests[name]] = weights.get(tests[name], 0) + 2**bit
    return f"toUInt16({' + '.join(f'if({test}, {weight}, 0)' for test, weight in weights.items())})"


def to_session_condition(conditions: Conditions, bindings: Bindings) -> str:
    """SQL over visits.sql that keeps the sessions asked for; without a view the entry and exit page are empty."""
    tests = [
        "bitTest(flags[1], 5)" if conditions.session else "",
        _of_page("entry_flag", 6, all_of(conditions.entry, bindings, "''")) if conditions.entry else "",
        _of_page("exit_flag", 7, all_of(conditions.exit, bindings, "''")) if conditions.exit else "",
        "arrayExists(flag -> bitTest(flag, 9), flags)" if conditions.any_of else "",
        "NOT arrayExists(flag -> bitTest(flag, 10), flags)" if conditions.none_of else "",
    ]
    return " AND ".join(test for test in tests if test) or TRUE


def to_holds(conditions: Conditions) -> str:
    """SQL in sessions.sql: the session holds a kept event; any does where no condition keeps events."""
    return "arrayExists(flag -> bitTest(flag, 3), flags)" if conditions.event else TRUE


def to_entered(conditions: Conditions, bindings: Bindings) -> str:
    """SQL over visits.sql: the entry page meets the conditions on pathname."""
    if not conditions.pathname:
        return TRUE
    return _of_page("entry_flag", 8, all_of(conditions.pathname, bindings, "''"))


def _of_page(flag: str, bit: int, without: str) -> str:
    return f"if(has_view, bitTest({flag}, {bit}), {without})"
