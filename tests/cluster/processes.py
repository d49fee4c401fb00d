"""The processes of a cluster, each in a folder that keeps its port, its process id and its log."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

from tests.product import PULSE
from tests.servers.process import ServerProcess, can_connect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[2]
ANSWER_SECONDS = 10.0


class PulseProcess(ServerProcess):
    """`pulse serve` with some roles; `settings` are PULSE_… variables without the prefix."""

    patience = 60.0

    def __init__(self, folder: Path, roles: Sequence[str], settings: Mapping[str, str]) -> None:
        super().__init__(folder)
        self.name = folder.name
        self.roles = tuple(roles)
        self.options: Sequence[str] = ()
        self._settings = settings

    @property
    def base(self) -> str:
        """Its own address, no slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> Sequence[str]:
        """`options` are further ones, hidden for tests."""
        roles = [word for role in self.roles for word in ("--role", role)]
        return [str(PULSE), "serve", *roles, *self.options]

    def environment(self) -> Mapping[str, str]:
        """Nothing of PULSE_… but ours."""
        return to_environment({**self._settings, "LISTEN": f"127.0.0.1:{self.port}", "MEMBER": self.name})

    def is_ready(self) -> bool:
        """Whether it and all that it needs is well."""
        return self.get("/readyz")[0] == 200

    def get(self, path: str, seconds: float = ANSWER_SECONDS) -> tuple[int, bytes]:
        """Status and body of a GET; status 0 when nobody answers."""
        return get(self.base + path, {}, seconds)


class BalancerProcess(ServerProcess):
    """One address for several of a kind."""

    name = "balancer"

    def __init__(self, folder: Path, targets: Sequence[str]) -> None:
        super().__init__(folder)
        self.name = folder.name
        self._targets = targets

    @property
    def base(self) -> str:
        """Its address, no slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> Sequence[str]:
        """Its options."""
        targets = [word for target in self._targets for word in ("--to", target)]
        return [sys.executable, "-m", "tests.cluster.balancer", "--port", str(self.port), *targets]

    def environment(self) -> Mapping[str, str]:
        """It is a module of this repository, wherever it is started."""
        return {**os.environ, "PYTHONPATH": str(ROOT)}

    def is_ready(self) -> bool:
        """Whether it listens."""
        return can_connect(self.port)


def to_environment(settings: Mapping[str, str]) -> Mapping[str, str]:
    """This process's environment with these settings and no other of Pulse."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PULSE_")}
    return kept | {f"PULSE_{name}": value for name, value in settings.items()}


def get(url: str, headers: Mapping[str, str], seconds: float = ANSWER_SECONDS) -> tuple[int, bytes]:
    """Status and body of a GET; status 0 when nobody answers."""
    request = urllib.request.Request(url, headers=dict(headers))  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(request, timeout=seconds) as response:  # noqa: S310 - loopback
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except (OSError, HTTPException):  # cut off in the middle, too
        return 0, b""
