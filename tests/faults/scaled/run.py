"""One run: rounds of faults under load; after each all is mended, drained, and what is there is counted.

*Lost* is acknowledged and not stored. *Doubled* is stored twice, by path, by event id and by position in the log. The
ledger must close for every hour, and nothing may be a dead letter or refused.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import islice
from typing import TYPE_CHECKING, Self

from tests.cluster.asking import read_ledger
from tests.cluster.clients import Book, Client, Target
from tests.cluster.cluster import Cluster, ClusterError, Plan
from tests.cluster.load import wait_until_landed
from tests.faults.scaled.hurting import INSERT_SECONDS, Hurting, MissedError
from tests.faults.scaled.schedule import GUEST, draw_faults, draw_short
from tests.faults.scaled.truth import read_evidence, read_stored, read_twice
from tests.faults.scaled.watching import Watch
from tests.faults.small_disk import may_mount, small_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.faults.scaled.schedule import Fault

CLIENTS = 8
AT_ONCE = 4
DISK = 2**30
WELL_SECONDS = 150.0
ACKNOWLEDGED_SECONDS = 120.0
LANDED_SECONDS = 180.0
LOOK_SECONDS = 0.25
COPIES_SECONDS = 120.0
ROAMING = 0.2
TOLD = 20
PLAN = Plan(
    queries=1,
    is_joint=True,
    is_balanced=False,
    log_options="partitions=4&session_ms=3000",
    warehouse_options=f"insert_seconds={INSERT_SECONDS}",
)


class FaultRunError(Exception):
    """Something was lost or doubled, or the cluster did not recover; the message says what."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a run is asked for: `pace` seconds between faults on average, `rate` events a second.

    It ends after `faults`, or with the round in which `seconds` are over. Without either it is the short one.
    """

    seed: int
    faults: int = 0
    seconds: float = 0.0
    per_round: int = 25
    pace: float = 4.0
    rate: float = 150.0
    is_fenced: bool = True

    def without_fence(self) -> Wish:
        """The same with a warehouse that overlooks fences: it must end badly."""
        return replace(self, is_fenced=False)


@dataclass(slots=True)
class Figures:
    """What a run found, for the table in tests/README.md."""

    seed: int
    drawn: int = 0
    missed: int = 0
    zombies: int = 0
    fenced: int = 0
    unknown: int = 0
    acknowledged: int = 0
    requests_again: int = 0
    duplicates: int = 0
    lost: int = 0
    doubled: int = 0
    seconds: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)

    @property
    def faults(self) -> int:
        """Those that met somebody."""
        return self.kinds.total()

    def to_row(self) -> dict[str, object]:
        """For a line of JSON."""
        return {"faults": self.faults} | {item.name: getattr(self, item.name) for item in fields(self)}


class FaultRun:
    """A cluster in a folder of its own and what is done to it. Use it as a block: the processes end with it."""

    def __init__(self, folder: Path, wish: Wish, tell: Callable[[str], object]) -> None:
        self.figures = Figures(wish.seed)
        self._wish = wish
        self._began = time.monotonic()
        self._say = tell
        plan = Plan(**{**asdict(PLAN), "is_fenced": wish.is_fenced})
        self.cluster = Cluster(folder, plan)
        self.cluster.add(GUEST, "consumer")
        for process in self.cluster.roles.values():
            process.options = ("--clock-step", "3600")
        self._watch = Watch(self.cluster, self._tell)
        self._watch.absent.add(GUEST)
        self._disks = {"door": self.cluster.door.engine, "kafka": self.cluster.kafka.folder / "data"}
        self._has_disks = may_mount()
        self._hurting = Hurting(self.cluster, self._watch, self._disks)
        self._room = threading.Semaphore(AT_ONCE)
        self._stack = ExitStack()
        self._is_wrong = False

    def __enter__(self) -> Self:
        """Start all; the folders of door and broker are small disks where that is allowed."""
        with ExitStack() as stack:
            for folder in self._disks.values() if self._has_disks else ():
                folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(small_disk(folder, DISK))
                stack.callback(self._keep, folder)
            stack.callback(self.cluster.kill)
            self.cluster.start(without=(GUEST,))
            self._watch.start()
            stack.callback(self._end_watch)
            self._stack = stack.pop_all()
        self._tell(f"all started{'' if self._has_disks else '; no small disks: not root'}")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self) -> None:
        """All rounds; raise FaultRunError at the first that goes wrong."""
        for number, faults in enumerate(self._draw_rounds()):
            try:
                self._round(number, faults)
            except ClusterError as error:
                self._is_wrong = True
                raise FaultRunError(str(error)) from error
            except FaultRunError:
                self._is_wrong = True
                raise
            finally:
                self._count()

    def _draw_rounds(self) -> Iterator[Sequence[Fault]]:
        wish = self._wish
        if not (wish.faults or wish.seconds):
            yield draw_short(wish.seed, wish.pace)
            return
        faults = draw_faults(wish.seed, wish.pace, with_disks=self._has_disks)
        figures = self.figures
        while figures.drawn < wish.faults or (wish.seconds and time.monotonic() - self._began < wish.seconds):
            left = wish.faults - figures.drawn if wish.faults else wish.per_round
            drawn = list(islice(faults, min(left, wish.per_round)))
            figures.drawn += len(drawn)
            yield drawn

    def _round(self, number: int, faults: Sequence[Fault]) -> None:
        prefix, book = f"/round-{number}", Book()
        welcome = self.cluster.welcome
        addresses = [f"127.0.0.1:{self.cluster.roles[f'collector-{place}'].port}" for place in (1, 2)]
        target = Target(addresses, welcome.site_key, welcome.ingest_key, ROAMING)
        seeds = range(self._wish.seed * 1000 + number * CLIENTS, self._wish.seed * 1000 + (number + 1) * CLIENTS)
        rate = self._wish.rate / CLIENTS
        clients = [Client(target, f"{prefix}/{seed % CLIENTS}", book, seed, rate) for seed in seeds]
        for client in clients:
            client.start()
        try:
            self._hurt(faults)
        finally:
            for client in clients:
                client.stop.set()
        self._mend()
        self._finish(clients, book)
        self._judge(prefix, book)

    def _hurt(self, faults: Sequence[Fault]) -> None:
        """Do each at its time, at most `AT_ONCE` together."""
        offset = faults[0].at - 1.0
        began = time.monotonic()
        threads = []
        for fault in faults:
            time.sleep(max(0.0, began + fault.at - offset - time.monotonic()))
            self._room.acquire()
            threads.append(threading.Thread(target=self._do, args=(fault,), name=str(fault), daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def _do(self, fault: Fault) -> None:
        began = time.monotonic()
        try:
            outcome = self._hurting.do(fault)
            self.figures.kinds[fault.kind] += 1
        except MissedError as error:
            outcome = f"missed, {error}"
            self.figures.missed += 1
        finally:
            self._room.release()
        self._tell(f"{fault}: {outcome} [planned for {fault.at:.1f}, took {time.monotonic() - began:.1f} s]")

    def _mend(self) -> None:
        """Let everything run and nothing go wrong; return when all say that they are well."""
        for process in self.cluster.processes.values():
            process.resume()
        waiting = [process for name, process in self.cluster.processes.items() if name not in self._watch.absent]
        until = time.monotonic() + WELL_SECONDS
        while waiting := [process for process in waiting if process.pid is None or not process.is_ready()]:
            if time.monotonic() > until:
                names = ", ".join(process.name for process in waiting)
                message = f"{names} did not recover within {WELL_SECONDS:.0f} s"
                raise FaultRunError(message)
            time.sleep(LOOK_SECONDS)
        self.cluster.door.clear()

    def _finish(self, clients: Sequence[Client], book: Book) -> None:
        """Wait until the last request is acknowledged and everything has landed."""
        until = time.monotonic() + ACKNOWLEDGED_SECONDS
        for client in clients:
            client.join(max(0.0, until - time.monotonic()))
        if any(client.is_alive() for client in clients) or book.strange:
            for client in clients:
                client.give_up.set()
            message = f"not everything was acknowledged: {book.strange[:3] or 'no answer'}"
            raise FaultRunError(message)
        wait_until_landed(self.cluster, LANDED_SECONDS)
        self._wait_for_copies()

    def _wait_for_copies(self) -> None:
        """Return when no event id is stored twice, or after the time that the job which moves copies may take."""
        until = time.monotonic() + COPIES_SECONDS
        while read_twice(self.cluster)["by_id"] and time.monotonic() < until:
            time.sleep(LOOK_SECONDS)

    def _judge(self, prefix: str, book: Book) -> None:
        """Count; raise FaultRunError when anything is lost, doubled or unaccounted for."""
        sent = Counter(path for batch in book.acknowledged for path in batch.paths)
        stored = read_stored(self.cluster, f"{prefix}/")
        lost, more, twice = sent - stored, stored - sent, read_twice(self.cluster)
        figures = self.figures
        figures.acknowledged += sent.total()
        figures.requests_again += book.again
        figures.lost += lost.total()
        figures.doubled += max(more.total(), *twice.values())
        ledger = read_ledger(self.cluster)
        figures.duplicates = ledger.outcomes["duplicate"]
        self._tell(f"round {prefix[7:]}: {sent.total()} acknowledged, {lost.total()} lost, {more.total()} too many")
        self._tell(f"ledger: {ledger}")
        problems = {
            "lost": sorted(lost)[:TOLD],
            "too many": sorted(more)[:TOLD],
            "rows stored twice": [name for name, count in twice.items() if count],
            "ledger": [] if ledger.closed else [str(ledger), *map(str, ledger.open_hours)],
            "not stored": [kind for kind in ("dead_lettered", "refused", "bots", "erased") if ledger.outcomes[kind]],
            "stored in all": [] if ledger.outcomes["stored"] == figures.acknowledged else [str(ledger)],
        }
        told = {name: found for name, found in problems.items() if found}
        if told:
            lines = read_evidence(self.cluster, [*sorted(lost)[:TOLD], *sorted(more)[:TOLD]])
            (self.cluster.folder / "evidence.jsonl").write_text("\n".join(lines))
            message = f"{told}; twice: {dict(twice)}"
            raise FaultRunError(message)

    def _count(self) -> None:
        figures, sums = self.figures, self._watch.sums
        figures.zombies, figures.fenced, figures.unknown = self._hurting.zombies, sums["fenced"], sums["unknown"]
        figures.ended = self._watch.ended
        figures.seconds = round(time.monotonic() - self._began, 1)
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(figures.kinds.items()))
        self._tell(f"so far {figures.faults} faults ({kinds}), {figures.missed} missed; {figures.zombies} zombies")
        self._tell(f"{figures.fenced} inserts fenced, {figures.unknown} of unknown outcome")

    def _keep(self, disk: Path) -> None:
        """Copy what is on a small disk to where it stays, when something is wrong."""
        if self._is_wrong:
            shutil.copytree(disk, disk.with_name(f"{disk.name}-kept"), symlinks=True)

    def _end_watch(self) -> None:
        self._watch.stop.set()
        self._watch.join()

    def _tell(self, text: str) -> None:
        self._say(f"[{time.monotonic() - self._began:7.1f}] {text}")
