"""Starts again what has ended, as an orchestrator does, and adds up what the consumers count."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from tests.cluster.asking import read_metrics
from tests.cluster.status import HALTED, read_field
from tests.door.process import DoorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.cluster.cluster import Cluster
    from tests.cluster.processes import PulseProcess

EVERY_SECONDS = 0.5
PAUSE_SECONDS = 1.0
METRIC_SECONDS = 0.5
LOOK_SECONDS = 0.1
COUNTED = {"pulse_fence_lost_total": "fenced", "pulse_inserts_unknown_total": "unknown"}


class Watch(threading.Thread):
    """Looks at every process of the cluster that nobody holds; `absent` are those that need not run."""

    def __init__(self, cluster: Cluster, tell: Callable[[str], object]) -> None:
        super().__init__(name="watch", daemon=True)
        self.stop = threading.Event()
        self.absent: set[str] = set()
        self.ended: Counter[str] = Counter()
        self._cluster = cluster
        self._tell = tell
        self._locks: Mapping[str, threading.RLock] = defaultdict(threading.RLock)
        self._launched: dict[str, float] = {}
        self._last: dict[tuple[str, str], float] = {}
        self._sums: Counter[str] = Counter()

    @contextmanager
    def holding(self, *names: str) -> Iterator[None]:
        """Nobody else hurts or starts these until the block ends."""
        with ExitStack() as stack:
            for name in sorted(names):
                stack.enter_context(self._locks[name])
            yield

    @property
    def sums(self) -> Mapping[str, int]:
        """Inserts that were refused by a fence, and whose answer was lost, as far as consumers lived to tell."""
        return {name: self._sums[name] for name in COUNTED.values()}

    def run(self) -> None:
        """Look until `stop`."""
        while not self.stop.wait(EVERY_SECONDS):
            for name in list(self._cluster.processes):
                self._revive(name)
            for process in list(self._cluster.roles.values()):
                if "consumer" in process.roles:
                    self._count(process)

    def launch(self, name: str) -> None:
        """Begin it, if it does not run and the run has not ended."""
        process = self._cluster.processes[name]
        with self.holding(name):
            if process.pid is None and not self.stop.is_set():
                process.prepare()
                process.launch()
                self._launched[name] = time.monotonic()

    def _revive(self, name: str) -> None:
        lock = self._locks[name]
        if name in self.absent or not lock.acquire(blocking=False):
            return
        try:
            process = self._cluster.processes[name]
            if process.pid is None and time.monotonic() > self._launched.get(name, 0) + PAUSE_SECONDS:
                self.ended[f"{name} {process.exit_code}"] += 1
                self._tell(f"{name} has ended by itself ({process.exit_code}); it is started again")
                self.launch(name)
        finally:
            lock.release()

    def _count(self, process: PulseProcess) -> None:
        pid = process.pid
        if pid is None or read_field(pid, "State").startswith(HALTED):
            return
        metrics = read_metrics(process, METRIC_SECONDS)
        for metric, name in COUNTED.items() if metrics else ():
            value = metrics.get((metric, ""), 0)
            before = self._last.get((process.name, metric), 0)
            self._sums[name] += int(value - before if value >= before else value)
            self._last[process.name, metric] = value


def wait_for(is_so: Callable[[], bool], seconds: float) -> bool:
    """Whether it is so within so many seconds; a door that does not answer says nothing."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if is_so():
                return True
        except (DoorError, OSError):
            time.sleep(LOOK_SECONDS)
        time.sleep(LOOK_SECONDS)
    return False
