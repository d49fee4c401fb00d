"""Opens the event log that a URL names. Kafka's library is loaded only for a URL that needs it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from ingest.log import kafka_url
from ingest.log.sqlite import open_sqlite_log
from schemas.passwords import to_form

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.log import EventLog
    from ingest.log.sqlite_room import Keeping

SCHEME = "sqlite:///"
KNOWN = (
    "known is sqlite:////absolute/path/of/log.db (four slashes), with ?partitions=N for a new file (default 4), "
    "and kafka://host:9092/topic"
)


async def open_log(url: str, keeping: Keeping, clock: Callable[[], int]) -> EventLog:
    """Open the log; a file is made if it is not there, a topic is not. `clock` gives epoch milliseconds.

    Raise ValueError for a URL that is not understood, that asks for another number of partitions than the log has, or
    for a topic that is missing or has dangerous settings; LogDamagedError and LogUnavailableError when the log cannot
    be used. `keeping` is for a file; a topic keeps what its own settings say.
    """
    if kafka_url.is_kafka(url):
        refuse_missing_library()
        from ingest.log.kafka import open_kafka_log  # noqa: PLC0415 - an extra

        return await open_kafka_log(url)
    path, partitions = parse_url(url)
    return await open_sqlite_log(path, partitions, keeping, clock)


async def prepare_log(url: str) -> list[str]:
    """Make what a log needs before it can be opened (topics; a file needs nothing) and say what was done.

    Raise ValueError and LogUnavailableError as `open_log` does.
    """
    if kafka_url.is_kafka(url):
        refuse_missing_library()
        from ingest.log.kafka_prepare import prepare_kafka  # noqa: PLC0415 - an extra

        return await prepare_kafka(url)
    parse_url(url)
    return []


def refuse_wrong_log(url: str) -> None:
    """Raise ValueError for a URL that is not understood, or names files that cannot be used; nothing is opened."""
    if kafka_url.is_kafka(url):
        kafka_url.parse_kafka_url(url)
    else:
        parse_url(url)


def parse_url(url: str) -> tuple[Path, int | None]:
    """The file and the number of partitions that the URL asks for, None when it asks for none."""
    place, _, query = url.removeprefix(SCHEME).partition("?")
    if not url.startswith(SCHEME) or not place.startswith("/"):
        message = f"log URL: {to_form(url)} is not understood; {KNOWN}"
        raise ValueError(message)
    options = dict(parse_qsl(query, keep_blank_values=True))
    partitions = options.pop("partitions", None)
    if options:
        message = f"log URL: {', '.join(options)} is not understood; {KNOWN}"
        raise ValueError(message)
    if partitions is None:
        return Path(place), None
    if not partitions.isascii() or not partitions.isdigit():
        message = f"log URL: partitions={partitions} is not a number; {KNOWN}"
        raise ValueError(message)
    return Path(place), int(partitions)


def refuse_missing_library() -> None:
    """Raise ValueError when Pulse was installed without what Kafka needs."""
    if find_spec("aiokafka") is None or find_spec("cramjam") is None:
        message = "a kafka:// log needs the extra kafka: pip install 'pulse-analytics[kafka]'"
        raise ValueError(message)
