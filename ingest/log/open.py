"""Opens the event log that a URL names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from ingest.log.sqlite import open_sqlite_log

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.log.sqlite import SqliteLog
    from ingest.log.sqlite_room import Keeping

SCHEME = "sqlite:///"
KNOWN = "known is sqlite:////absolute/path/of/log.db (four slashes), with ?partitions=N for a new file (default 4)"


async def open_log(url: str, keeping: Keeping, clock: Callable[[], int]) -> SqliteLog:
    """Open the log, making it if it is not there; `clock` gives epoch milliseconds.

    Raise ValueError for a URL that is not understood or that asks for another number of partitions than the log has,
    LogDamagedError and LogUnavailableError when the log cannot be used.
    """
    path, partitions = parse_url(url)
    return await open_sqlite_log(path, partitions, keeping, clock)


def parse_url(url: str) -> tuple[Path, int | None]:
    """The file and the number of partitions that the URL asks for, None when it asks for none."""
    place, _, query = url.removeprefix(SCHEME).partition("?")
    if not url.startswith(SCHEME) or not place.startswith("/"):
        message = f"log URL {url!r}: {KNOWN}"
        raise ValueError(message)
    options = dict(parse_qsl(query, keep_blank_values=True))
    partitions = options.pop("partitions", None)
    if options:
        message = f"log URL {url!r}: {', '.join(options)} is not understood; {KNOWN}"
        raise ValueError(message)
    if partitions is None:
        return Path(place), None
    if not partitions.isascii() or not partitions.isdigit():
        message = f"log URL {url!r}: partitions={partitions} is not a number; {KNOWN}"
        raise ValueError(message)
    return Path(place), int(partitions)
