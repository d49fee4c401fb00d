"""Filters: which sessions a question keeps, and which of their events."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.model.records import Condition, Event
    from tests.model.sessions import Session

NEGATIVE = ("!=", "!~")
POSITIVE_OF = {"!=": "==", "!~": "=~"}


def meets(value: str, operator: str, values: Sequence[str]) -> bool:
    """Hold one value against a condition's values; empty text is a value like another ("none")."""
    if operator in NEGATIVE:
        return not meets(value, POSITIVE_OF[operator], values)
    return any(_meets_one(value, operator, wanted) for wanted in values)


def _meets_one(value: str, operator: str, wanted: str) -> bool:
    if operator == "==":
        return value == wanted
    if operator == "=^":
        return value.startswith(wanted)
    if operator == "=~":
        return wanted in value
    if operator == "=*":
        return re.search(wanted, value) is not None
    raise ValueError(operator)


def keeps_event(event: Event, conditions: Sequence[Condition]) -> bool:
    """Event conditions must all hold for one and the same event.

    Decision: engagement is never counted as an event, so no condition keeps it and none finds it.
    """
    own = [condition for condition in conditions if condition.of_event]
    return event.counted and all(meets(event.value(one.dimension), one.operator, one.values) for one in own)


def keeps_session(session: Session, conditions: Sequence[Condition]) -> bool:
    """Session conditions keep whole sessions; the `any.` conditions among them look into the session's events."""
    own = [condition for condition in conditions if not condition.of_event and not condition.any]
    if not all(meets(session.value(one.dimension), one.operator, one.values) for one in own):
        return False
    return _holds_any(session, [condition for condition in conditions if condition.any])


def _holds_any(session: Session, conditions: Sequence[Condition]) -> bool:
    """Several `any.` conditions hold for one and the same event; a negative one means that no event has the value.

    Decision: so every negative condition stands alone, beside the one event that meets all positive ones.
    """
    negative = [condition for condition in conditions if condition.operator in NEGATIVE]
    positive = [condition for condition in conditions if condition.operator not in NEGATIVE]
    if not all(meets(event.value(one.bare), one.operator, one.values) for one in negative for event in session.counted):
        return False
    return not positive or any(
        all(meets(event.value(one.bare), one.operator, one.values) for one in positive) for event in session.counted
    )
