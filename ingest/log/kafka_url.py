"""What a URL of a Kafka log asks for. Nothing here needs the library, and no text made here holds the password."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from schemas.passwords import ESCAPES, PasswordFileError, read_password_file, split_credentials

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEME = "kafka://"
PORT = 9092
TOPIC = re.compile(r"[A-Za-z0-9._-]{1,240}")  # Kafka allows 249; ours has a sister with `.dead` behind it
MECHANISMS = {"plain": "PLAIN", "scram-sha-256": "SCRAM-SHA-256", "scram-sha-512": "SCRAM-SHA-512"}
SECURITIES = ("plaintext", "tls")
COMPRESSIONS = ("lz4", "zstd")
FILES = ("password_file", "ca", "cert", "key")
LARGEST = 2**31 - 1
SESSION_MS = 10_000
DEADLINE_MS = 5_000
BUFFER_BYTES = 32 * 1024**2
# Each number with its smallest and its largest value.
NUMBERS = {
    "partitions": (1, 65_534),
    "replication": (1, 100),
    "min_insync": (1, 100),
    "session_ms": (1_000, 1_800_000),  # brokers take 6 s to 30 min unless told otherwise
    "deadline_ms": (100, 60_000),
    "buffer_bytes": (2**20, LARGEST),
}
CHOICES = {"security": SECURITIES, "sasl": tuple(MECHANISMS), "compression": COMPRESSIONS}
OPTIONS = (*NUMBERS, *CHOICES, *FILES, "group")
KNOWN = f"known is kafka://[user:password@]host:9092[,host2:9092]/topic with the options {', '.join(OPTIONS)}"


@dataclass(frozen=True, slots=True)
class Access:
    """How to be let in: TLS or not, and who we are. `mechanism` is empty where nobody is asked for."""

    tls: bool = False
    ca: str = ""
    cert: str = ""
    key: str = ""
    mechanism: str = ""
    user: str = ""
    password: str = field(default="", repr=False)

    @property
    def protocol(self) -> str:
        """Kafka's own name for it."""
        return ("SASL_" if self.mechanism else "") + ("SSL" if self.tls else "PLAINTEXT")


@dataclass(frozen=True, slots=True)
class KafkaPlace:
    """A topic and the way to it.

    `partitions`, `replication` and `min_insync` are None where the URL does not ask. `deadline` (seconds) is how long
    an append may take, `buffer_bytes` how much may wait in this process.
    """

    hosts: tuple[tuple[str, int], ...]
    topic: str
    group: str
    access: Access = field(default_factory=Access)
    partitions: int | None = None
    replication: int | None = None
    min_insync: int | None = None
    compression: str = COMPRESSIONS[0]
    session_ms: int = SESSION_MS
    deadline: float = DEADLINE_MS / 1000
    buffer_bytes: int = BUFFER_BYTES

    @property
    def dead_topic(self) -> str:
        """Where the bytes of dead letters are."""
        return f"{self.topic}.dead"

    def __str__(self) -> str:
        """Brokers and topic, fit for a message."""
        return f"{','.join(f'{host}:{port}' for host, port in self.hosts)}/{self.topic}"


def is_kafka(url: str) -> bool:
    """Whether the URL is meant to name a topic."""
    return url.startswith(SCHEME)


def parse_kafka_url(url: str) -> KafkaPlace:
    """Read the URL and the files that it names; raise ValueError with what is wrong and what is known."""
    try:
        credentials, rest = split_credentials(url.removeprefix(SCHEME))
    except ValueError as error:
        message = f"the URL of the log: {error}"
        raise ValueError(message) from None
    address, _, query = rest.partition("?")
    servers, _, topic = address.partition("/")
    if not is_kafka(url) or not servers or not TOPIC.fullmatch(topic):
        message = f"the URL of the log names no servers or no topic (letters, digits, . _ -): {KNOWN}"
        raise ValueError(message)
    options = _read_options(query)
    numbers = {name: _to_number(name, options[name]) for name in NUMBERS if name in options}
    return KafkaPlace(
        hosts=tuple(_to_host(server) for server in servers.split(",")),
        topic=topic,
        group=options.get("group", f"pulse-{topic}"),
        access=_to_access(credentials, options),
        partitions=numbers.get("partitions"),
        replication=numbers.get("replication"),
        min_insync=numbers.get("min_insync"),
        compression=options.get("compression", COMPRESSIONS[0]),
        session_ms=numbers.get("session_ms", SESSION_MS),
        deadline=numbers.get("deadline_ms", DEADLINE_MS) / 1000,
        buffer_bytes=numbers.get("buffer_bytes", BUFFER_BYTES),
    )


def _read_options(query: str) -> Mapping[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in OPTIONS:
            message = f"the URL of the log: {name} is not understood; {KNOWN}"
            raise ValueError(message)
        if name in options:
            message = f"the URL of the log: {name} is given twice"
            raise ValueError(message)
        if value not in CHOICES.get(name, (value,)):
            message = f"the URL of the log: {name}={value} is none of {', '.join(CHOICES[name])}"
            raise ValueError(message)
        if not value:
            message = f"the URL of the log: {name}= is empty"
            raise ValueError(message)
        options[name] = value
    return options


def _to_number(name: str, text: str) -> int:
    least, most = NUMBERS[name]
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        message = f"the URL of the log: {name}={text} is not a number from {least} to {most}"
        raise ValueError(message)
    return int(text)


def _to_host(server: str) -> tuple[str, int]:
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\s\[\]]+)(?::(\d{1,5}))?", server)
    if match is None or not 0 < int(match[2] or PORT) < 65_536:  # noqa: PLR2004 - the last port
        message = f"the URL of the log: a server is not host:port; {ESCAPES}"  # not shown: it may be a password
        raise ValueError(message)
    return match[1].strip("[]"), int(match[2] or PORT)


def _to_access(credentials: str, options: Mapping[str, str]) -> Access:
    user, _, password = credentials.partition(":")
    user, password = unquote(user), unquote(password)
    if "password_file" in options:
        password = _read_password(options["password_file"], password)
    mechanism = MECHANISMS.get(options.get("sasl", ""), "")
    if mechanism and not (user and password):
        message = "the URL of the log: sasl= needs user:password@ before the servers, or user@ and password_file="
        raise ValueError(message)
    if (user or password) and not mechanism:
        message = f"the URL of the log names a user, but not how to sign in: add sasl= ({', '.join(MECHANISMS)})"
        raise ValueError(message)
    tls = options.get("security") == "tls"
    return Access(tls, *_to_files(options, tls=tls), mechanism, user, password)


def _to_files(options: Mapping[str, str], *, tls: bool) -> tuple[str, str, str]:
    ca, cert, key = (options.get(name, "") for name in ("ca", "cert", "key"))
    if (ca or cert or key) and not tls:
        message = "the URL of the log: ca, cert and key are for security=tls"
        raise ValueError(message)
    if key and not cert:
        message = "the URL of the log: key= needs the certificate that it belongs to, cert="
        raise ValueError(message)
    for name, path in (("ca", ca), ("cert", cert), ("key", key)):
        if path:
            _read_file(name, path)
    return ca, cert, key


def _read_password(path: str, given: str) -> str:
    try:
        return read_password_file(path, given)
    except PasswordFileError as error:
        message = f"the URL of the log: {error}"
        raise ValueError(message) from error


def _read_file(name: str, path: str) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        message = f"the URL of the log: {name}={path} cannot be read: {reason}"
        raise ValueError(message) from error
    if not text.strip():
        message = f"the URL of the log: the file {name}={path} is empty"
        raise ValueError(message)
    return text
