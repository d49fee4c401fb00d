"""The product as a person runs it: a `pulse serve` process of its own on a free port, for tests, faults and benches."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

from tests.servers.process import find_free_port

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

PULSE = Path(sys.executable).with_name("pulse")
READY_SECONDS = 120.0
STOP_SECONDS = 60.0


class ProductError(Exception):
    """The process did not do what it must; the message holds the end of its log."""


@dataclass(slots=True)
class Product:
    """One data folder and the process that serves it. `settings` are PULSE_… variables without the prefix."""

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None:
            self.stop()

    @staticmethod
    def pulse() -> Path:
        """The command."""
        return PULSE

    @property
    def base(self) -> str:
        """Address of the server, no slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log_file(self) -> Path:
        """Standard output and error of all runs."""
        return self.folder / "serve.log"

    @property
    def pid(self) -> int:
        """Process id of the server."""
        assert self.process is not None
        return self.process.pid

    def start(self, *arguments: str) -> None:
        """Start it (on the same port as before) and wait until it is ready."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = self.port or find_free_port()
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own program
                [PULSE, "serve", *arguments], env=self.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Return once /readyz says so; raise ProductError when it never does or the process ends."""
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end:
            assert self.process is not None
            if self.process.poll() is not None:
                break
            with suppress(OSError):  # nobody listens yet
                if self.get("/readyz")[0] == 200:
                    return
            time.sleep(0.02)
        message = f"not ready, exit code {self.process and self.process.poll()}: {self.read_log()[-3000:]}"
        raise ProductError(message)

    def stop(self) -> int:
        """Ask it to end, as an operator does, and give its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        finally:
            self.process.kill()
            self.process = None

    def kill(self) -> None:
        """End it as a power cut does (for this process)."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command of `pulse` on the same data."""
        done = subprocess.run(  # noqa: S603 - our own program
            [PULSE, *arguments], env=self.environment(), capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            message = f"pulse {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
            raise ProductError(message)
        return done

    def run_json(self, *arguments: str) -> dict[str, object]:
        """Run a command with --json and give what it says."""
        return cast("dict[str, object]", json.loads(self.run(*arguments, "--json").stdout))

    def get(self, path: str, key: str = "") -> tuple[int, bytes]:
        """Status and body of a GET; raise OSError when nobody answers."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        request = urllib.request.Request(self.base + path, headers=headers)  # noqa: S310 - loopback
        try:
            with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - loopback
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def get_json(self, path: str, key: str = "") -> dict[str, object]:
        """The answer to a GET that must succeed."""
        status, body = self.get(path, key)
        if status != 200:
            message = f"GET {path}: {status} {body[:1000]!r}"
            raise ProductError(message)
        return cast("dict[str, object]", json.loads(body))

    def read_log(self) -> str:
        """All that the process has written."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def environment(self) -> dict[str, str]:
        """What the process sees: nothing of PULSE_… but ours."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PULSE_")}
        own = {"LISTEN": f"127.0.0.1:{self.port}", "DATA": str(self.folder / "data"), **self.settings}
        return kept | {f"PULSE_{name}": value for name, value in own.items()}
