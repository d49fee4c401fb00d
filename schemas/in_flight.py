"""What waits in the event log: told by whoever has the log, needed by the ledger to close at every moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schemas.event import BlockHeaders


class InFlightUnknownError(Exception):
    """What waits in the log cannot be read now; come back in some seconds."""


@dataclass(frozen=True, slots=True)
class InFlight:
    """One log partition: all records before `position` are in the warehouse; `headers` are those from there on.

    `log` is the log's number in the control plane. Read the headers after the position, and read again when the log
    was trimmed past it meanwhile: no record may be missing.
    """

    log: int
    partition: int
    position: int
    headers: tuple[BlockHeaders, ...]


ReadInFlight = Callable[[], Awaitable[Sequence[InFlight]]]
