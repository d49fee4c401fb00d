"""How much of what was acknowledged the warehouse holds: made by the consumer, told by every answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Completeness:
    """Every acknowledged event received before `received_up_to` (epoch ms) is in the warehouse.

    The lowest over all log partitions. `lag` is how many seconds that lies back, 0.0 when nothing waits in the log.
    `exact` is false while a resend from another address may still be counted twice.
    """

    received_up_to: int
    lag: float
    exact: bool


ReadCompleteness = Callable[[], Awaitable[Completeness]]
