"""What may go wrong at the door, on demand: each fault strikes the next statements that match, so many times."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Kind(StrEnum):
    """The ways in which a statement fares badly."""

    BEFORE = "before"  # waits `seconds` and then runs: not yet in system.processes
    RUNNING = "running"  # an insert with a body runs for `seconds` and can be killed
    AFTER = "after"  # has run, and its answer waits for `seconds`
    LOSE_ANSWER = "lose_answer"  # has run, and the connection is closed without an answer
    HOLD = "hold"  # its bytes are stuck in a proxy until they are released; then it runs, whoever still listens
    REFUSE = "refuse"  # a proxy answers `status`; nothing runs
    FAIL = "fail"  # the server answers with the exception `code`; nothing runs


@dataclass(slots=True)
class Fault:
    """Strikes `times` statements whose text, or `log_comment`, holds the pattern `match`."""

    kind: Kind
    match: str = ""
    times: int = 1
    seconds: float = 0.0
    code: int = 241
    status: int = 503


@dataclass(slots=True)
class Strikes:
    """The faults that strike one statement."""

    faults: Sequence[Fault]

    def find(self, kind: Kind) -> Fault | None:
        """The fault of this kind, if it is among them."""
        return next((fault for fault in self.faults if fault.kind == kind), None)

    def seconds(self, kind: Kind) -> float:
        """How long the fault of this kind takes; 0 without one."""
        fault = self.find(kind)
        return fault.seconds if fault else 0.0


@dataclass(slots=True)
class Faults:
    """The faults that wait for their statement, and the statements that are held."""

    waiting: list[Fault] = field(default_factory=list)
    held: int = 0
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, values: Mapping[str, str | int | float]) -> None:
        """Take a fault as it comes over the control port; raise ValueError or TypeError when it is none."""
        known = dict(values)
        fault = Fault(Kind(str(known.pop("kind"))), **known)  # type: ignore[arg-type]
        re.compile(fault.match)
        self.waiting.append(fault)

    def strike(self, statement: str) -> Strikes:
        """The faults that this statement meets; each has one time less."""
        struck = [fault for fault in self.waiting if re.search(fault.match, statement, re.DOTALL)]
        for fault in struck:
            fault.times -= 1
        self.waiting = [fault for fault in self.waiting if fault.times > 0]
        return Strikes(struck)

    async def hold(self) -> None:
        """Return when the held statements are released."""
        self.held += 1
        try:
            await self._released.wait()
        finally:
            self.held -= 1

    def release(self) -> None:
        """Let every held statement go on."""
        self._released.set()
        self._released = asyncio.Event()

    def clear(self) -> None:
        """Nothing goes wrong any more, and nothing is held."""
        self.waiting = []
        self.release()
