"""What a parent and its workers say to each other, over a pair of sockets that the worker inherits one end of.

A line a message. The end of the stream is a message too: the other one is gone, perhaps in the middle of a line.
"""

from __future__ import annotations

import asyncio
import json
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Self, cast

from deploy.workers_figures import Family, Sample

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator

    from deploy.workers_figures import Figures

LONGEST = 16 * 1024**2  # of a line: the figures of all workers
END = b"\n"
MAX_WAITING = 1024**2  # bytes for one that does not read


class Kind(StrEnum):
    """Who says what."""

    SERVING = "serving"  # worker: connections are taken
    FIGURES = "figures"  # worker: these are mine; with the number of the question, or 0
    TELL = "tell"  # parent: say your figures
    ASK = "ask"  # worker: what are the figures of all?
    ASK_READY = "ask ready"  # worker: do all serve?
    ANSWER = "answer"  # parent: to both; without figures to the latter


class Message(NamedTuple):
    """`number` ties an answer to its question. `serving` is how many workers serve."""

    kind: Kind
    number: int = 0
    figures: Figures = ()
    serving: int = 0


class Channel:
    """One end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> Self:
        """Own the socket."""
        return cls(*await asyncio.open_unix_connection(sock=end, limit=LONGEST))

    def send(self, message: Message) -> None:
        """Say it; to one that reads nothing or is gone nothing is said, so that no memory is taken."""
        if not self._writer.is_closing() and self._writer.transport.get_write_buffer_size() < MAX_WAITING:
            self._writer.write(to_line(message))

    async def messages(self) -> AsyncIterator[Message]:
        """What the other one says, until it is gone."""
        try:
            while (line := await self._reader.readline()).endswith(END):
                yield to_message(line)
        except ConnectionError:
            return

    async def close(self) -> None:
        """Say nothing more; what was said still goes out."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            return


def to_line(message: Message) -> bytes:
    """Write it; infinite numbers, too, which not all JSON knows."""
    return json.dumps(message).encode() + END


def to_message(line: bytes) -> Message:
    """Read a line; raise ValueError for what is none."""
    kind, number, families, serving = cast("tuple[str, int, list[list[object]], int]", json.loads(line))
    return Message(Kind(kind), number, tuple(map(to_family, families)), serving)


def to_family(fields: list[object]) -> Family:
    """A family out of its list."""
    name, kind, text, samples = cast("tuple[str, str, str, list[tuple[str, list[tuple[str, str]], float]]]", fields)
    return Family(
        name, kind, text, tuple(Sample(one, tuple((a, b) for a, b in labels), value) for one, labels, value in samples)
    )
