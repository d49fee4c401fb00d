"""The mark of a record: its time in the day and, as flags, all that a question asks of the record by itself.

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
TIME = "toUInt64(toUnixTimestamp64Milli(ts) - (toInt64(local_date) - 1) * 86400000)"

# In the order of their bits; visits.sql knows them by number.
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
)


def to_mark(conditions: Conditions, inside: str, bindings: Bindings) -> str:
    """SQL of a record's mark; `inside` is the condition of the range."""
    none_of = " OR ".join(f"NOT ({all_of((one,), bindings)})" for one in conditions.none_of)
    tests = {
        "counted": COUNTED,
        "view": VIEW,
        "settles": SETTLES,
        "kept": f"{COUNTED} AND {all_of(conditions.event, bindings)}",
        "inside": inside,
        "fits": all_of(conditions.session, bindings),
        "entry": all_of(conditions.entry, bindings, "pathname"),
        "exit": all_of(conditions.exit, bindings, "pathname"),
        "asked": all_of(conditions.pathname, bindings),
        "any_of": f"{COUNTED} AND {all_of(conditions.any_of, bindings)}",
        "none_of": f"{COUNTED} AND ({none_of})" if none_of else "0",
    }
    flags = [f"{2**bit} * ({tests[name]})" for bit, name in enumerate(FLAGS) if tests[name] not in {TRUE, "0"}]
    always = sum(2**bit for bit, name in enumerate(FLAGS) if tests[name] == TRUE)
    return f"{TIME} * 65536 + {' + '.join([*flags, str(always)])}"


def to_session_condition(conditions: Conditions, bindings: Bindings) -> str:
    """SQL over visits.sql that keeps the sessions asked for; without a view the entry and exit page are empty."""
    tests = [
        "bitTest(first.2, 5)" if conditions.session else "",
        _of_page("entry_mark", 6, all_of(conditions.entry, bindings, "''")) if conditions.entry else "",
        _of_page("exit_mark", 7, all_of(conditions.exit, bindings, "''")) if conditions.exit else "",
        "arrayExists(mark -> bitTest(mark, 9), marks)" if conditions.any_of else "",
        "NOT arrayExists(mark -> bitTest(mark, 10), marks)" if conditions.none_of else "",
    ]
    return " AND ".join(test for test in tests if test) or TRUE


def to_entered(conditions: Conditions, bindings: Bindings) -> str:
    """SQL over visits.sql: the entry page meets the conditions on pathname."""
    if not conditions.pathname:
        return TRUE
    return _of_page("entry_mark", 8, all_of(conditions.pathname, bindings, "''"))


def _of_page(mark: str, bit: int, without: str) -> str:
    return f"if(view_count > 0, bitTest({mark}, {bit}), {without})"
