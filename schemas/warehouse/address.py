"""Where a warehouse server is: `clickhouse://user:password@host:8123/database?secure=1&…`, read without connecting."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import parse_qsl, unquote, urlsplit

from schemas.warehouse.errors import WarehouseError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from urllib.parse import SplitResult

SETTING = "PULSE_WAREHOUSE_URL"  # named in every message about the connection
SCHEME = "clickhouse"
DATABASE = "pulse"
PORT, SECURE_PORT = 8123, 8443
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
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
    return url.startswith(f"{SCHEME}:")


def to_address(url: str) -> Address:
    """Read the URL and the password's file; raise WarehouseError, without the password, for what cannot be meant."""
    parts = urlsplit(url)
    options = read_options(parts.query)
    secure = read_flag(options, "secure")
    users, _, places = parts.netloc.rpartition("@")
    user, _, password = users.partition(":")
    hosts = [to_host(place, SECURE_PORT if secure else PORT) for place in places.split(",")]
    cluster = options.get("cluster", "")
    if len(hosts) > 1 and not cluster:
        refuse("several servers need ?cluster=NAME, and one of each shard")
    if "password_file" in options:
        password = read_password(options["password_file"], unquote(password))
    return Address(
        hosts,
        to_name(unquote(parts.path.lstrip("/")) or DATABASE, "the database"),
        unquote(user) or "default",
        password if "password_file" in options else unquote(password),
        secure,
        options.get("ca_file", ""),
        to_name(cluster, "the cluster") if cluster else "",
        read_seconds(options, "connect_seconds", 5.0),
        read_seconds(options, "insert_seconds", 60.0),
    )


def refuse(problem: str, cause: Exception | None = None) -> NoReturn:
    """Raise WarehouseError that names the setting, and nothing of the URL that could be secret."""
    message = f"{SETTING}: {problem}"
    raise WarehouseError(message) from cause


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


def to_host(place: str, port: int) -> Host:
    """A host with its port, or with that which is usual."""
    try:
        parts: SplitResult = urlsplit(f"//{place}")
        name, found = parts.hostname, parts.port
    except ValueError as error:
        refuse(f"{place!r} is no host with a port", error)
    if not name:
        refuse("no host is given: clickhouse://user:password@host:8123/database")
    return Host(f"[{name}]" if ":" in name else name, found or port)


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


def read_password(path: str, given: str) -> str:
    """The first line of the file; refused where the URL holds a password as well."""
    if given:
        refuse("a password and a password_file are given")
    try:
        return Path(path).read_text().split("\n", 1)[0].rstrip("\r")
    except OSError as error:
        refuse(f"password_file: {error}", error)
