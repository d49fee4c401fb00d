"""Where the warehouse is, read without opening it.

`chdb:////folder` or `clickhouse://user:password@host:8123/database?secure=1&…`.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import parse_qsl, unquote

from schemas.passwords import ESCAPES, PasswordFileError, read_password_file, split_credentials, to_form
from schemas.warehouse.errors import WarehouseUnusableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EMBEDDED, SCHEME = "chdb:///", "clickhouse://"
FORM = "clickhouse://user:password@host:8123/database"
DATABASE = "pulse"
PORT, SECURE_PORT = 8123, 8443
LAST_PORT = 65_535
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
HOST = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%\w+)?\]|[\w.-]+)(?::(\d{1,5}))?")
OPTIONS = {
    "secure": "1 for HTTPS",
    "ca_file": "certificates to trust instead of the system's, PEM",
    "password_file": "a file that holds the password",
    "cluster": "the cluster whose servers hold the tables",
    "connect_seconds": "how long to wait for a connection, default 5",
    "insert_seconds": "how long one insert may take, default 60",
}


@dataclass(frozen=True, slots=True)
class Host:
    """One server's HTTP interface."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"{self.name}:{self.port}"


@dataclass(frozen=True, slots=True)
class Address:
    """A server, or a cluster by one server of each shard in the order of the shards. Its text never shows the password.

    `cluster` is empty where the tables are on one server.
    """

    hosts: Sequence[Host]
    database: str
    user: str
    password: str = field(repr=False)
    secure: bool = False
    ca_file: str = ""
    cluster: str = ""
    connect_seconds: float = 5.0
    insert_seconds: float = 60.0


def is_server(url: str) -> bool:
    """Whether the URL names a server, not the engine in this process."""
    return url.startswith(SCHEME)


def refuse_wrong_warehouse(url: str) -> None:
    """Raise WarehouseUnusableError for a URL that cannot be meant, or names files that cannot be used."""
    if is_server(url):
        to_address(url)
    else:
        to_folder(url)


def to_folder(url: str) -> Path:
    """The folder that the URL names; raise WarehouseUnusableError when it is of another kind."""
    path = url.removeprefix(EMBEDDED)
    if path == url:
        refuse(f"{to_form(url)} is not understood, write chdb:////folder (an absolute path) or {FORM}")
    if not path.startswith("/"):  # a server works in a folder that goes when it ends
        refuse(f"{to_form(url)} names no absolute path: write chdb:////srv/pulse/warehouse (four slashes)")
    return Path(path)


def to_address(url: str) -> Address:
    """Read the URL and the files that it names; raise WarehouseUnusableError for what cannot be meant."""
    try:
        credentials, rest = split_credentials(url.removeprefix(SCHEME))
    except ValueError as error:
        refuse(str(error))
    place, _, query = rest.partition("?")
    names, _, database = place.partition("/")
    user, _, password = map(unquote, credentials.partition(":"))
    options = read_options(query)
    secure = read_flag(options, "secure")
    hosts = [to_host(name, SECURE_PORT if secure else PORT) for name in names.split(",")]
    cluster = options.get("cluster", "")
    if len(hosts) > 1 and not cluster:
        refuse("several servers need ?cluster=NAME, and one of each shard")
    return Address(
        hosts,
        to_name(unquote(database) or DATABASE, "the database"),
        user or "default",
        read_password(options, password),
        secure,
        read_ca_file(options),
        to_name(cluster, "the cluster") if cluster else "",
        read_seconds(options, "connect_seconds", 5.0),
        read_seconds(options, "insert_seconds", 60.0),
    )


def refuse(problem: str, cause: Exception | None = None) -> NoReturn:
    """Raise WarehouseUnusableError; the problem holds nothing of the URL that could be secret."""
    raise WarehouseUnusableError(problem) from cause


def read_options(query: str) -> Mapping[str, str]:
    """The options behind the question mark; each known, and given once."""
    pairs = parse_qsl(query, keep_blank_values=True)
    options = dict(pairs)
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        known = "; ".join(f"{name}: {meaning}" for name, meaning in OPTIONS.items())
        refuse(f"unknown option {', '.join(unknown)} (known are {known})")
    if len(options) != len(pairs):
        refuse("an option is given twice")
    return options


def to_host(text: str, port: int) -> Host:
    """A host with its port, or with that which is usual. One that is refused is not shown: it may be a password."""
    if not text:
        refuse(f"no host is given, write {FORM}")
    found = HOST.fullmatch(text)
    if found is None or not 0 < int(found[2] or port) <= LAST_PORT:
        refuse(f"a server is no host with a port, write {FORM}; {ESCAPES}")
    return Host(found[1], int(found[2] or port))


def to_name(text: str, what: str) -> str:
    """A name that can stand in SQL as it is."""
    if not NAME.fullmatch(text):
        refuse(f"{what} is called {text!r}: letters, digits and _ only")
    return text


def read_flag(options: Mapping[str, str], name: str) -> bool:
    """Whether an option is on."""
    if options.get(name, "0") not in {"0", "1"}:
        refuse(f"{name} is 0 or 1")
    return options.get(name) == "1"


def read_seconds(options: Mapping[str, str], name: str, usual: float) -> float:
    """A time of more than nothing."""
    try:
        seconds = float(options.get(name, usual))
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        refuse(f"{name} is a number of seconds above 0")
    return seconds


def read_password(options: Mapping[str, str], given: str) -> str:
    """The password of the file, or the one that the URL has given."""
    if "password_file" not in options:
        return given
    try:
        return read_password_file(options["password_file"], given)
    except PasswordFileError as error:
        refuse(str(error))


def read_ca_file(options: Mapping[str, str]) -> str:
    """The file of certificates, which can be read and holds some; empty for the system's."""
    path = options.get("ca_file", "")
    try:
        ssl.create_default_context(cafile=path or None)
    except (OSError, ValueError) as error:
        reason = "it holds no certificates" if isinstance(error, ssl.SSLError | ValueError) else error.strerror
        refuse(f"ca_file={path} cannot be used: {reason}", error)
    return path
