"""The ledger: what became of every record received, by UTC hour of receipt."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

HOUR = 3_600_000
Fate = Literal["stored", "bots", "duplicate", "refused"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one received record; `reason` is why it was refused."""

    site: int
    received: int
    fate: Fate
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour of the ledger; `start` in epoch milliseconds."""

    start: int
    received: int
    stored: int
    bots: int
    duplicate: int
    refused: dict[str, int]


def ledger(outcomes: Iterable[Outcome], sites: Iterable[int]) -> list[Hour]:
    """The hours in which the sites received anything, oldest first."""
    asked = set(sites)
    mine = [outcome for outcome in outcomes if outcome.site in asked]
    starts = sorted({outcome.received - outcome.received % HOUR for outcome in mine})
    return [_to_hour(start, [one for one in mine if one.received - one.received % HOUR == start]) for start in starts]


def _to_hour(start: int, outcomes: list[Outcome]) -> Hour:
    fates = Counter(outcome.fate for outcome in outcomes)
    refused = Counter(outcome.reason for outcome in outcomes if outcome.fate == "refused")
    return Hour(start, len(outcomes), fates["stored"], fates["bots"], fates["duplicate"], dict(refused))
