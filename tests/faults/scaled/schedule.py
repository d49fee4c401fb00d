"""What goes wrong when: everything is drawn from the seed before anything is started."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CONSUMERS = ("consumer-1", "consumer-2")
COLLECTORS = ("collector-1", "collector-2")
SERVERS = ("kafka", "postgres", "valkey", "door")
FAILPOINTS = ("taken-over", "month", "events", "judged", "receipts", "committed")
TABLES = ("events", "events", "receipts", "fences", "batches")
GUEST = "consumer-3"
SHORT = ("zombie", "zombie", "zombie-running", "zombie-stuck", "kill", "lose-answer", "failpoint", "clock")


class Kind(NamedTuple):
    """How often among all, whom it may strike (any one), between how many seconds it lasts, in which ways."""

    weight: int
    targets: Sequence[str]
    least: float
    most: float
    ways: Sequence[str] = ("",)


KINDS: dict[str, Kind] = {
    # A consumer is halted until others have its partitions, and so long after: at any moment, ...
    "zombie": Kind(16, CONSUMERS, 0.0, 4.0, ("calm", "calm", "wild")),
    # ... while its insert runs, ...
    "zombie-running": Kind(8, CONSUMERS, 0.0, 3.0, TABLES[:3]),
    # ... while the bytes of its insert are stuck in a proxy, which gives them on then.
    "zombie-stuck": Kind(10, CONSUMERS, 0.0, 3.0, TABLES[:3]),
    "kill": Kind(20, (*CONSUMERS, *CONSUMERS, *COLLECTORS, "query-1", *SERVERS, "door"), 0.0, 3.0),
    "kill-both": Kind(3, ("consumers",), 0.0, 2.0),
    "restart": Kind(6, (*CONSUMERS, *COLLECTORS, "kafka", "postgres", "valkey"), 0.0, 1.0),
    "halt": Kind(7, (*COLLECTORS, "query-1", *SERVERS), 1.0, 6.0),
    "lose-answer": Kind(8, CONSUMERS, 0.0, 0.0, TABLES),
    # Bytes stuck in a proxy until nobody waits for an answer any more; then they arrive.
    "stuck": Kind(3, CONSUMERS, 0.0, 4.0, TABLES[:3]),
    "door-killed": Kind(6, ("door",), 0.2, 1.2, ("before", "running", "after")),
    "slow": Kind(3, ("door",), 2.0, 5.0),
    "refuse": Kind(4, ("door",), 0.0, 0.0, ("refuse", "fail")),
    "join": Kind(4, (GUEST,), 4.0, 14.0, ("stop", "kill")),
    "failpoint": Kind(6, CONSUMERS, 0.0, 1.0, FAILPOINTS),
    "clock": Kind(4, (*CONSUMERS, *COLLECTORS, "query-1"), 2.0, 12.0),
    "disk": Kind(3, ("door", "kafka"), 1.0, 4.0),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One of them: `at` seconds after the schedule began, lasting `seconds`."""

    number: int
    at: float
    kind: str
    target: str
    seconds: float
    way: str

    def __str__(self) -> str:
        return f"#{self.number} {self.kind} {self.target}" + (f" ({self.way})" if self.way else "")


def draw_faults(seed: int, pace: float, *, with_disks: bool) -> Iterator[Fault]:
    """Faults without end, `pace` seconds apart on average."""
    source = random.Random(seed)  # noqa: S311 - moments, not secrets
    names = [name for name in KINDS if with_disks or name != "disk"]
    weights = [KINDS[name].weight for name in names]
    at = 0.0
    for number in count(1):
        at += source.expovariate(1 / pace)
        yield _draw(source, number, at, source.choices(names, weights)[0])


def draw_short(seed: int, pace: float) -> Sequence[Fault]:
    """Of the kinds that find most, one each, in an order of the seed."""
    source = random.Random(seed)  # noqa: S311 - as above
    names = source.sample(SHORT, len(SHORT))
    return [_draw(source, number, pace * number, name) for number, name in enumerate(names, 1)]


def _draw(source: random.Random, number: int, at: float, name: str) -> Fault:
    kind = KINDS[name]
    seconds = source.uniform(kind.least, kind.most)
    return Fault(number, at, name, source.choice(kind.targets), seconds, source.choice(kind.ways))
