"""What an organisation's plan allows each of its keys."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Plan:
    """Requests a minute and a day (None is without end), requests at once, and whether there is an API at all."""

    name: str
    per_minute: int | None
    per_day: int | None
    at_once: int
    has_api: bool = True


FREE = Plan("free", 60, 10_000, 5, has_api=False)
PRO = Plan("pro", 100, 100_000, 15)
ENTERPRISE = Plan("enterprise", None, None, 50)
PLANS = {plan.name: plan for plan in (FREE, PRO, ENTERPRISE)}


def to_plan(name: str, per_minute: int | None, per_day: int | None) -> Plan:
    """The plan of this name; only an enterprise plan takes figures of its own. KeyError for a name that is none."""
    plan = PLANS[name]
    return replace(plan, per_minute=per_minute, per_day=per_day) if plan is ENTERPRISE else plan
