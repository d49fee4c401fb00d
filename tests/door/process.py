"""The door as a process that others start, kill, stop and hurt: in tests, in scripts/cluster, in the fault runs."""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from tests.servers.process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.door.faults import Kind

ROOT = Path(__file__).parents[2]
PING_SECONDS, ANSWER_SECONDS = 5.0, 20.0


class DoorError(Exception):
    """The door did not do what it was told."""


class Door(ServerProcess):
    """A door whose engine keeps its files in `folder`/engine.

    With a `cluster` it plays a cluster of that name with one shard of one replica; not `is_fenced`, it overlooks every
    fence.
    """

    name = "door"
    patience = 60.0
    user = "default"

    def __init__(self, folder: Path, *, password: str = "", cluster: str = "", is_fenced: bool = True) -> None:
        super().__init__(folder)
        self.password = password
        self.cluster = cluster
        self._is_fenced = is_fenced

    @property
    def url(self) -> str:
        """Its URL for PULSE_WAREHOUSE_URL, with the database that is usual."""
        user, password = (urllib.parse.quote(text, safe="") for text in (self.user, self.password))
        return f"clickhouse://{user}:{password}@127.0.0.1:{self.port}"

    @property
    def engine(self) -> Path:
        """The engine's files."""
        return self.folder / "engine"

    def command(self) -> Sequence[str]:
        """Its options."""
        options = ["--folder", str(self.engine), "--port", str(self.port), "--user", self.user]
        options += ["--password", self.password, "--cluster", self.cluster]
        flags = {"--tied": self.is_tied, "--unfenced": not self._is_fenced}
        return [sys.executable, "-m", "tests.door", *options, *(flag for flag, is_on in flags.items() if is_on)]

    def environment(self) -> Mapping[str, str]:
        """It is a module of this repository, wherever it is started."""
        return {**os.environ, "PYTHONPATH": str(ROOT)}

    def is_ready(self) -> bool:
        """Whether it answers a ping."""
        try:
            return self._send("GET", "/ping", None, PING_SECONDS) == b"Ok.\n"
        except (DoorError, OSError):
            return False

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

    def _send(
        self, method: str, path: str, value: dict[str, str | float] | None, seconds: float = ANSWER_SECONDS
    ) -> bytes:
        data = json.dumps(value).encode() if value is not None else b"" if method == "POST" else None
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=seconds) as response:  # noqa: S310 - ours
                return bytes(response.read())
        except urllib.error.HTTPError as error:
            raise DoorError(error.read().decode()) from error


class TiedDoor(Door):
    """A door that ends with whoever began it, however that ends."""

    is_tied = True
