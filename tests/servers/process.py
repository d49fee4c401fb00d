"""What the servers of the tests share: a process of its own on a fixed port of the loopback, that can be hurt."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PATIENCE = 60.0
POLL = 0.02
USER_TICKS, SYSTEM_TICKS, STARTED = 10, 11, 18  # of the fields after the state, see proc_pid_stat(5)
HALTED = "TtZX"  # states: stopped by a signal or a tracer, or ended


class ServerDidNotStartError(Exception):
    """The message names the log to read."""


class ServerProcess(ABC):
    """A server in a folder. Port and process id are kept in files there: another process may stop or kill it.

    A subclass says how it is prepared, how it is run and when it is ready.
    """

    name = "server"
    stop_signal = signal.SIGTERM
    patience = PATIENCE
    is_tied = False  # a tied one holds the other end of a pipe as its input, and ends with whoever began it

    def __init__(self, folder: Path, port: int | None = None) -> None:
        """Use the folder, made if it is missing; without a port the one of its last run, or a free one."""
        self.folder = folder.absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None
        port_file = self.folder / "port"
        if port is None:
            port = int(port_file.read_text()) if port_file.exists() else find_free_port()
        port_file.write_text(str(port))
        self.port = port

    @property
    def pid(self) -> int | None:
        """The process, None when none runs."""
        if self._process is not None:
            self._process.poll()  # an ended child is one until somebody asks
        with contextlib.suppress(OSError, ValueError):
            pid, _, started = (self.folder / "pid").read_text().partition(" ")
            return int(pid) if read_start(int(pid)) == started else None
        return None

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.folder / f"{self.name}.log"

    def start(self) -> None:
        """Start and wait until it answers; nothing happens if it runs."""
        if self.pid is not None:
            return
        self.prepare()
        deadline = time.monotonic() + self.patience
        while not self._try_start(deadline):
            if time.monotonic() > deadline:
                said = self.log.read_text(errors="replace").splitlines()
                message = f"{self.name} did not start, see {self.log}: {said[-1] if said else 'it said nothing'}"
                raise ServerDidNotStartError(message)

    def stop(self) -> None:
        """End it in an orderly way and wait."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Halt it as it is (SIGSTOP): its connections stay open and nothing is answered; nothing if none runs.

        All its threads have halted when this returns: on a busy machine they may run on for a while. TimeoutError when
        they do not, and then it goes on.
        """
        pid = self.pid
        if pid is None:
            return
        os.kill(pid, signal.SIGSTOP)
        deadline = time.monotonic() + self.patience
        while not is_halted(pid):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGCONT)
                message = f"{self.name} ({pid}) did not halt within {self.patience:g} s"
                raise TimeoutError(message)
            time.sleep(0.001)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        pid = self.pid
        if pid is not None:
            os.kill(pid, signal.SIGCONT)

    def restart(self) -> None:
        """Stop and start on the same folder and port."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def prepare(self) -> None:  # noqa: B027 (most servers have nothing to prepare)
        """Make what must be there before the first start."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """The command line."""

    def environment(self) -> Mapping[str, str]:
        """What the process sees."""
        return os.environ

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it answers."""

    @property
    def exit_code(self) -> int | None:
        """How the process ended that this object began last; None while it runs or where there was none."""
        return None if self._process is None else self._process.poll()

    def launch(self) -> None:
        """Begin the process on a prepared folder and wait for nothing."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                self.command(),
                env=self.environment(),
                stdin=subprocess.PIPE if self.is_tied else subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        (self.folder / "pid").write_text(f"{self._process.pid} {read_start(self._process.pid)}")

    def _try_start(self, deadline: float) -> bool:
        """Start once; False when it ended at once (what a killed one left may still be in the way)."""
        self.launch()
        while time.monotonic() < deadline:
            if self.exit_code is not None:
                time.sleep(POLL)
                return False
            if self.is_ready():
                return True
            time.sleep(POLL)
        self._end(signal.SIGKILL)
        return False

    def _end(self, how: signal.Signals) -> None:
        pid = self.pid
        if pid is None:
            return
        os.kill(pid, how)
        if how is not signal.SIGKILL:
            os.kill(pid, signal.SIGCONT)  # one that a harness has halted must be able to end
        deadline = time.monotonic() + self.patience
        while self.pid is not None:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(POLL)
        if self._process is not None:
            self._process.wait()  # its first thread may be gone before the others, which hold its files
            if self._process.stdin:
                self._process.stdin.close()


def find_free_ports(count: int) -> Sequence[int]:
    """So many different ports of the loopback that nobody listens on now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def find_free_port() -> int:
    """One of `find_free_ports`."""
    return find_free_ports(1)[0]


def can_connect(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def read_start(pid: int) -> str:
    """When the process was started, as the system writes it: a later one of the same number differs.

    OSError when there is none; one that has ended and was not asked for by its parent is none.
    """
    os.kill(pid, 0)
    if not Path(f"/proc/{pid}/stat").exists():  # not Linux
        return ""
    state, *fields = _read_stat(Path(f"/proc/{pid}/stat"))
    if state == "Z":
        raise ProcessLookupError(pid)
    return fields[STARTED]


def read_cpu(pid: int) -> float:
    """Seconds of processor time that a process has taken so far; OSError when there is none, or off Linux."""
    _state, *fields = _read_stat(Path(f"/proc/{pid}/stat"))
    return (int(fields[USER_TICKS]) + int(fields[SYSTEM_TICKS])) / os.sysconf("SC_CLK_TCK")


def is_halted(pid: int) -> bool:
    """Whether no thread of the process runs any more; True where there is none, and off Linux."""
    threads = Path(f"/proc/{pid}/task")
    if not threads.exists():
        return True
    with contextlib.suppress(OSError):  # one has ended while it was looked at
        return all(_read_stat(thread / "stat")[0] in HALTED for thread in threads.iterdir())
    return False


def _read_stat(file: Path) -> Sequence[str]:
    """What stands behind the name of the program."""
    return file.read_text().rpartition(")")[2].split()
