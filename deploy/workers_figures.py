"""One set of figures out of those of several workers.

Pure, and free of Prometheus' library, which a parent of workers does not load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LASTING = frozenset({"counter", "histogram", "summary"})  # what stays when its worker is gone
# What each process has a limit of its own for belongs here: of a sum nobody could say whether one is full.
OF_A_PROCESS = ("process_", "python_", "pulse_collector_waiting_bytes")
BIRTH = "_created"
AGE = "_seconds"


class Sample(NamedTuple):
    """One number. `labels` are (name, value), in the order in which they are shown."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float


class Family(NamedTuple):
    """A metric: its name, its kind as Prometheus calls it (counter, gauge, histogram), its help."""

    name: str
    kind: str
    text: str
    samples: tuple[Sample, ...]


Figures: TypeAlias = "tuple[Family, ...]"


def add_up(past: Figures, living: Mapping[int, Figures]) -> Figures:
    """The figures of the whole: `living` by number of the worker, `past` of those that are gone.

    Counters and histograms are sums, gauges too, but of ages the highest counts. What describes a process stands there
    once a worker, told apart by the label `worker`: a sum of start times or limits would mean nothing, and a counter of
    a process that was replaced does begin again.
    """
    shared = [[family for family in figures if not is_of_process(family)] for figures in living.values()]
    own = [
        with_worker(family, worker) for worker, figures in living.items() for family in figures if is_of_process(family)
    ]
    return (*merge([own]), *merge([past, *shared]))


def add_to_past(past: Figures, gone: Figures) -> Figures:
    """The figures that stay after a worker has ended: its counts, no states."""
    return merge([past, [family for family in gone if family.kind in LASTING and not is_of_process(family)]])


def merge(parts: Iterable[Iterable[Family]]) -> Figures:
    """One family a name, one sample a name and labels."""
    families: dict[str, Family] = {}
    samples: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for part in parts:
        for family in part:
            families.setdefault(family.name, family)
            known = samples.setdefault(family.name, {})
            for sample in family.samples:
                place = (sample.name, sample.labels)
                before = known.get(place)
                known[place] = sample.value if before is None else join(family, sample.name, before, sample.value)
    return tuple(
        family._replace(samples=tuple(Sample(*place, value) for place, value in samples[family.name].items()))
        for family in families.values()
    )


def join(family: Family, name: str, one: float, other: float) -> float:
    """Two values of one sample as one."""
    if family.kind in LASTING and name.endswith(BIRTH):
        return min(one, other)
    if family.kind == "gauge" and name.endswith(AGE):
        return max(one, other)
    return one + other


def is_of_process(family: Family) -> bool:
    """Whether it tells of one process, not of what all do together."""
    return family.name.startswith(OF_A_PROCESS)


def with_worker(family: Family, worker: int) -> Family:
    """The family of one worker, told apart from those of the others."""
    label = ("worker", str(worker))
    return family._replace(samples=tuple(sample._replace(labels=(*sample.labels, label)) for sample in family.samples))
