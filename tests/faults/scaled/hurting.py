"""How each kind of fault is done to a running cluster, and what came of it."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from tests.cluster.asking import read_metrics, read_partitions
from tests.door.faults import Kind
from tests.door.process import DoorError
from tests.faults.scaled.schedule import CONSUMERS
from tests.faults.scaled.truth import is_inserting, read_owners
from tests.faults.scaled.watching import wait_for
from tests.faults.small_disk import fill_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.cluster.cluster import Cluster
    from tests.faults.scaled.schedule import Fault
    from tests.faults.scaled.watching import Watch

DOOR_FAULTS = "faults of the door"  # one at a time: they are released all together
CALM = ("door", "kafka")  # nobody hurts these while a consumer is a zombie, unless it is a wild one
TAKEN_SECONDS = 25.0
UP_SECONDS = 30.0
FAILPOINT_SECONDS = 45.0
RUNNING_SECONDS = 40.0  # of an insert that is to be stopped
INSERT_SECONDS = 4  # how long an insert may take by the URL of the warehouse, ...
PATIENCE_SECONDS = INSERT_SECONDS + 10.5  # ... and when its sender has given up


class MissedError(Exception):
    """A fault met nobody; the message says why."""


class Hurting:
    """Does faults, several at once; `zombies` counts consumers that were halted until others had their partitions."""

    def __init__(self, cluster: Cluster, watch: Watch, disks: Mapping[str, Path]) -> None:
        self.zombies = 0
        self._lock = threading.Lock()
        self._cluster = cluster
        self._watch = watch
        self._disks = disks
        self._door = cluster.door
        self._ways: Mapping[str, Callable[[Fault], str]] = {
            "zombie": self._zombie,
            "zombie-running": self._zombie_running,
            "zombie-stuck": self._zombie_stuck,
            "kill": self._kill,
            "kill-both": self._kill,
            "restart": self._restart,
            "halt": self._halt,
            "lose-answer": self._lose_answer,
            "stuck": self._stick,
            "door-killed": self._kill_door,
            "slow": self._slow,
            "refuse": self._refuse,
            "join": self._join,
            "failpoint": self._die_at,
            "clock": self._jump,
            "disk": self._fill,
        }

    def do(self, fault: Fault) -> str:
        """Do it to the end and say what came of it; raise MissedError."""
        try:
            return self._ways[fault.kind](fault)
        except (DoorError, OSError) as error:
            message = f"the door was away ({type(error).__name__})"
            raise MissedError(message) from error

    @contextmanager
    def _at_door(self, *names: str) -> Iterator[None]:
        """Hold these and set faults at the door, which is up; at the end none waits and nothing is held."""
        with self._watch.holding(DOOR_FAULTS, *names):
            wait_for(self._door.is_ready, UP_SECONDS)
            try:
                yield
            finally:
                self._clear()

    @contextmanager
    def _at_running(self, *names: str) -> Iterator[None]:
        """Hold these, which run; raise MissedError."""
        with self._watch.holding(*names):
            for name in names:
                if self._cluster.processes[name].pid is None:
                    message = f"{name} did not run"
                    raise MissedError(message)
            yield

    def _zombie(self, fault: Fault) -> str:
        name = self._pick(fault.target)
        with self._watch.holding(name, *(CALM if fault.way == "calm" else ())):
            return self._halt_until_taken(name, fault.seconds)

    def _zombie_running(self, fault: Fault) -> str:
        name = self._pick(fault.target)
        with self._at_door(name, *CALM):
            self._door.fault(Kind.RUNNING, to_pattern(fault.way, name), seconds=RUNNING_SECONDS)
            self._wait_for_insert(lambda: is_inserting(self._cluster, name) and not self._door.waiting())
            return self._halt_until_taken(name, fault.seconds)

    def _zombie_stuck(self, fault: Fault) -> str:
        name = self._pick(fault.target)
        with self._at_door(name, *CALM):
            self._door.fault(Kind.HOLD, to_pattern(fault.way, name))
            self._wait_for_insert(lambda: self._door.held() > 0)
            first = self._clear if fault.number % 2 else None  # the bytes arrive before it wakes, or after
            return self._halt_until_taken(name, fault.seconds, first)

    def _pick(self, wanted: str) -> str:
        """This consumer, or where it does not consume now the other, if that does within some time."""
        names = sorted(CONSUMERS, key=lambda name: name != wanted)
        wait_for(lambda: any(map(self._partitions_of, names)), UP_SECONDS)
        with suppress(OSError):
            return next((name for name in names if self._partitions_of(name)), wanted)
        return wanted

    def _wait_for_insert(self, is_there: Callable[[], bool]) -> None:
        if not wait_for(is_there, UP_SECONDS):
            message = "nothing was inserted"
            raise MissedError(message)

    def _halt_until_taken(self, name: str, seconds: float, before_waking: Callable[[], None] | None = None) -> str:
        """Halt it until another member owns a partition of its, so many seconds more, then let it go on."""
        process = self._cluster.processes[name]
        if not wait_for(lambda: bool(self._partitions_of(name)), UP_SECONDS):
            message = "it had no partitions"
            raise MissedError(message)
        had = self._partitions_of(name)
        pid, began = process.pid, time.monotonic()
        process.pause()
        try:
            taken = wait_for(lambda: self._is_taken(name, had), TAKEN_SECONDS)
            passed = time.monotonic() - began
            time.sleep(seconds)
            if before_waking is not None:
                before_waking()
        finally:
            process.resume()
        if not taken or process.pid != pid:
            message = f"nobody took over within {passed:.1f} s"
            raise MissedError(message)
        with self._lock:
            self.zombies += 1
        return f"{name}, a zombie: partitions {sorted(had)} were taken over after {passed:.1f} s"

    def _partitions_of(self, member: str) -> set[int]:
        """Those that it says it consumes and was the last to take over."""
        owned = {partition for partition, owner in read_owners(self._cluster).items() if owner == member}
        return owned.intersection(read_partitions(read_metrics(self._cluster.roles[member])))

    def _is_taken(self, member: str, had: set[int]) -> bool:
        owners = read_owners(self._cluster)
        return any(owners.get(partition, member) != member for partition in had)

    def _kill(self, fault: Fault) -> str:
        names = CONSUMERS if fault.kind == "kill-both" else (fault.target,)
        with self._at_running(*names):
            for name in names:
                self._cluster.processes[name].kill()
            time.sleep(fault.seconds)
            for name in names:
                self._watch.launch(name)
        return f"started again after {fault.seconds:.1f} s"

    def _restart(self, fault: Fault) -> str:
        process = self._cluster.processes[fault.target]
        with self._at_running(fault.target):
            began = time.monotonic()
            process.stop()
            took, code = time.monotonic() - began, process.exit_code
            time.sleep(fault.seconds)
            self._watch.launch(fault.target)
        return f"ended with {code} after {took:.1f} s"

    def _halt(self, fault: Fault) -> str:
        process = self._cluster.processes[fault.target]
        with self._at_running(fault.target):
            process.pause()
            time.sleep(fault.seconds)
            process.resume()
        return f"for {fault.seconds:.1f} s"

    def _lose_answer(self, fault: Fault) -> str:
        with self._at_door():
            if fault.way == "fences":  # who is unsure takes over again
                self._door.fault(Kind.LOSE_ANSWER, to_pattern("events", fault.target))
                self._door.fault(Kind.LOSE_ANSWER, "^INSERT INTO fences")
            else:
                self._door.fault(Kind.LOSE_ANSWER, to_pattern(fault.way, fault.target))
            self._wait_for_insert(lambda: not self._door.waiting())
        return "as told"

    def _stick(self, fault: Fault) -> str:
        with self._at_door():
            self._door.fault(Kind.HOLD, to_pattern(fault.way, fault.target))
            self._wait_for_insert(lambda: self._door.held() > 0)
            time.sleep(PATIENCE_SECONDS + fault.seconds)
        return f"the bytes arrived after {PATIENCE_SECONDS + fault.seconds:.1f} s"

    def _kill_door(self, fault: Fault) -> str:
        with self._at_door("door"):
            self._door.fault(Kind(fault.way), "^INSERT INTO (events|receipts)", seconds=5.0)
            self._wait_for_insert(lambda: not self._door.waiting())
            time.sleep(fault.seconds)
            self._cluster.door.kill()
            self._watch.launch("door")
        return f"killed {fault.seconds:.1f} s later"

    def _slow(self, fault: Fault) -> str:
        with self._at_door():
            self._door.fault(Kind.AFTER, "^INSERT", times=4, seconds=fault.seconds)
            self._wait_for_insert(lambda: not self._door.waiting())
        return f"four answers, each {fault.seconds:.1f} s late"

    def _refuse(self, fault: Fault) -> str:
        with self._at_door():
            self._door.fault(Kind(fault.way), "^INSERT", times=3)
            self._wait_for_insert(lambda: not self._door.waiting())
        return "three inserts"

    def _join(self, fault: Fault) -> str:
        process = self._cluster.processes[fault.target]
        with self._watch.holding(fault.target):
            self._watch.launch(fault.target)
            try:
                wait_for(lambda: bool(self._partitions_of(fault.target)), TAKEN_SECONDS)
                time.sleep(fault.seconds)
                had = self._partitions_of(fault.target)
            finally:
                (process.stop if fault.way == "stop" else process.kill)()
        if not had:
            message = "it was given no partitions"
            raise MissedError(message)
        return f"had partitions {sorted(had)} at its end"

    def _die_at(self, fault: Fault) -> str:
        process = self._cluster.roles[fault.target]
        with self._watch.holding(fault.target):
            process.kill()
            usual = process.options
            process.options = (*usual, "--failpoint", fault.way)
            self._watch.launch(fault.target)
            process.options = usual
            died = wait_for(lambda: process.pid is None, FAILPOINT_SECONDS)
            process.kill()
            time.sleep(fault.seconds)
            self._watch.launch(fault.target)
        if not died:
            message = f"it never came to {fault.way}"
            raise MissedError(message)
        return "died there"

    def _jump(self, fault: Fault) -> str:
        """An hour ahead, and back unless the process has ended meanwhile."""
        process = self._cluster.roles[fault.target]
        with self._watch.holding(fault.target):
            pid = process.pid
            if pid is None or process.get("/healthz")[0] != 200:
                message = "it was not up"
                raise MissedError(message)
            os.kill(pid, signal.SIGUSR2)
        time.sleep(fault.seconds)
        with self._watch.holding(fault.target):
            if process.pid == pid:
                os.kill(pid, signal.SIGUSR2)
        return f"an hour ahead for {fault.seconds:.1f} s"

    def _fill(self, fault: Fault) -> str:
        with self._at_running(fault.target):
            ballast = fill_disk(self._disks[fault.target])
            try:
                time.sleep(fault.seconds)
            finally:
                ballast.unlink()
            ended = self._cluster.processes[fault.target].pid is None
            self._watch.launch(fault.target)
        return f"full for {fault.seconds:.1f} s" + (", which ended it" if ended else "")

    def _clear(self) -> None:
        """Nothing is held and nothing waits at the door; a door that is away has forgotten all that."""
        try:
            self._door.clear()
        except (DoorError, OSError):
            return


def to_pattern(table: str, member: str) -> str:
    """What is found in an insert of this member into this table."""
    return rf"^INSERT INTO {table}\b.*\nlog_comment=pulse-insert:{member}-"
