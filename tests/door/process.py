"""The door as a process that others start, kill, stop and hurt: in tests, in scripts/cluster, in the fault runs."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

    from tests.door.faults import Kind

ROOT = Path(__file__).parents[2]
START_SECONDS = 60.0
WAIT_SECONDS = 0.02


class DoorError(Exception):
    """The door did not come up, or did not do what it was told."""


class Door:
    """A door on `folder`; its port stays over a restart. Ends with this process, however that ends.

    With a `cluster` it plays a cluster of that name with one shard of one replica.
    """

    user = "default"

    def __init__(self, folder: Path, port: int = 0, password: str = "", cluster: str = "") -> None:
        self.folder = folder
        self.port = port or find_free_port()
        self.password = password
        self.cluster = cluster
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its URL for PULSE_WAREHOUSE_URL, with the database that is usual."""
        user, password = (urllib.parse.quote(text, safe="") for text in (self.user, self.password))
        return f"clickhouse://{user}:{password}@127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process; raise DoorError when there is none."""
        return self._running().pid

    def start(self) -> Self:
        """Start it and return when it answers; raise DoorError."""
        options = ["--folder", str(self.folder), "--port", str(self.port), "--user", self.user]
        options += ["--password", self.password, "--cluster", self.cluster, "--tied"]
        command = [sys.executable, "-m", "tests.door", *options]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE)  # noqa: S603 - our own module
        end = time.monotonic() + START_SECONDS
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > end:
                message = f"the door on {self.folder} did not come up: {self._process.poll()}"
                raise DoorError(message)
            time.sleep(WAIT_SECONDS)
        return self

    def answers(self) -> bool:
        """Whether it answers a ping."""
        try:
            return self._send("GET", "/ping", None) == b"Ok.\n"
        except (DoorError, OSError):
            return False

    def stop(self) -> None:
        """Ask it to finish what runs and to end, and wait for that."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, whatever runs."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Kill it and start it again on the same folder and port; faults are forgotten."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Stop it as it is (SIGSTOP): its connections stay open and nothing is answered."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._running().send_signal(signal.SIGCONT)

    def fault(self, kind: Kind, match: str = "", **values: float) -> None:
        """The next statements that hold the pattern meet this fault (`Fault` says what `values` may be)."""
        self._send("POST", "/_door/faults", {"kind": kind, "match": match, **values})

    def held(self) -> int:
        """How many statements a HOLD keeps back now."""
        return int(self._send("GET", "/_door/held", None))

    def waiting(self) -> int:
        """How many faults still wait for a statement."""
        return int(self._send("GET", "/_door/waiting", None))

    def release(self) -> None:
        """Let the held statements go on."""
        self._send("POST", "/_door/release", None)

    def clear(self) -> None:
        """Forget every fault and let the held statements go on."""
        self._send("POST", "/_door/clear", None)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            message = "the door is not running"
            raise DoorError(message)
        return self._process

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()
        self._process = None

    def _send(self, method: str, path: str, value: dict[str, str | float] | None) -> bytes:
        data = json.dumps(value).encode() if value is not None else b"" if method == "POST" else None
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310 - ours
                return bytes(response.read())
        except urllib.error.HTTPError as error:
            raise DoorError(error.read().decode()) from error


def find_free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
