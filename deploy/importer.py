"""Sends the page views of access logs to `POST /v1/events`: a client like any other, with an `ingest` key.

Each line has an id of its own, so an import can be interrupted and run again. One visitor's lines go through one
sender, one request after the other, so that they are appended in file order.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import sys
import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

import aiohttp
import orjson
import stamina

from deploy.access_log import Hit, SkipReason, read_hit

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator
    from pathlib import Path

    Answer = dict[str, list[dict[str, str]]]
    Queue = asyncio.Queue[list[bytes] | None]

TIMEOUT = aiohttp.ClientTimeout(total=120)
SENDERS = 4
BATCH_EVENTS = 1000  # what the collector takes in one request
BATCH_BYTES = 900_000  # under its cap of 1 MiB
QUEUED_BATCHES = 2
LINES_AT_ONCE = 500  # between two looks at the senders
ATTEMPTS = 15  # some minutes
TAKEN = frozenset({202, 400})
COME_BACK = frozenset({429, 500, 502, 503, 504})
ADVICE = "Run the same command again: nothing counts twice"
MALFORMED_SHOWN = 20
VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}  # of a UUID: its top bits are 10
COUNTED = b"\0%d"  # behind a line: how many like it were before
NAMESPACE = UUID("6f3f9d0e-52a5-5d0c-8f8e-2b9a5c1d7e40").bytes


class ImportFailedError(Exception):
    """The import cannot go on; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the events go: base address of the server, the site's domain and key, a project key of scope ingest."""

    base: str
    domain: str
    site_key: str
    ingest_key: str


@dataclass(slots=True)
class Summary:
    """What became of every line. `lines` is the sum of all the others."""

    lines: int = 0
    sent: int = 0  # accepted by the collector; a line that had been imported before is accepted and counts once
    skipped: Counter[SkipReason] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    malformed_lines: list[str] = field(default_factory=list)  # file:number, the first few

    @property
    def adds_up(self) -> bool:
        """Whether every line has found its place."""
        return self.lines == self.sent + self.skipped.total() + self.refused.total()


class Progress(Protocol):
    """Told as the import goes: bytes read of a file, lines read in all."""

    def __call__(self, file: Path, position: int, lines: int) -> None:
        """Show it."""


async def import_access_logs(files: list[Path], target: Target, progress: Progress) -> Summary:
    """Send every page view of the files and say what became of each line.

    Raise ImportFailedError when a file cannot be read or the server stays away or refuses as a whole.
    """
    summary = Summary()
    queues: list[Queue] = [asyncio.Queue(QUEUED_BATCHES) for _ in range(SENDERS)]
    try:
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session, asyncio.TaskGroup() as group:
            sender = Sender(session, target, summary)
            for queue in queues:
                group.create_task(sender.run(queue))
            for file in files:
                await feed(file, Feeder(target, queues, summary), progress)
            for queue in queues:
                await queue.put(None)
    except* ImportFailedError as failed:
        raise failed.exceptions[0] from None
    return summary


class Feeder:
    """Turns lines into events and deals them out to the senders, one visitor always to the same."""

    def __init__(self, target: Target, queues: list[Queue], summary: Summary) -> None:
        self._target = target
        self._queues = queues
        self._summary = summary
        self._batches: list[list[bytes]] = [[] for _ in queues]
        self._sizes = [0] * len(queues)
        self._full: list[tuple[int, list[bytes]]] = []
        self._seen: dict[bytes, int] = {}
        self._site = hashlib.sha1(NAMESPACE + target.domain.encode() + b"\0", usedforsecurity=False)

    def begin(self) -> None:
        """A new file: equal lines are counted within one."""
        self._seen.clear()

    def add(self, line: bytes) -> SkipReason | None:
        """Count a line and pack its event, or say why it has none."""
        self._summary.lines += 1
        event_id = self._to_id(line)
        hit = read_hit(line)
        if isinstance(hit, SkipReason):
            self._summary.skipped[hit] += 1
            return hit
        number = hash((hit.address, hit.user_agent)) % len(self._queues)
        event = orjson.dumps(to_event(hit, event_id, self._target.domain))
        if len(self._batches[number]) == BATCH_EVENTS or self._sizes[number] + len(event) > BATCH_BYTES:
            self._end(number)
        self._batches[number].append(event)
        self._sizes[number] += len(event) + 1
        return None

    def note(self, place: str) -> None:
        """Keep where a malformed line stands, of the first few."""
        if len(self._summary.malformed_lines) < MALFORMED_SHOWN:
            self._summary.malformed_lines.append(place)

    def _to_id(self, line: bytes) -> str:
        """An id of the site, the line, and how many lines like it were before in this file."""
        begun = self._site.copy()
        begun.update(line)
        first = begun.copy()
        first.update(COUNTED % 0)
        digest = first.digest()
        before = self._seen.get(digest, 0)
        self._seen[digest] = before + 1
        if before:
            begun.update(COUNTED % before)
            digest = begun.digest()
        return to_uuid(digest)

    def _end(self, number: int) -> None:
        if self._batches[number]:
            self._full.append((number, self._batches[number]))
        self._batches[number] = []
        self._sizes[number] = 0

    async def flush(self) -> None:
        """Queue the batches that are full; wait for senders that are behind."""
        full, self._full = self._full, []
        for number, batch in full:
            await self._queues[number].put(batch)

    async def finish(self) -> None:
        """Queue all that is left of this file."""
        for number in range(len(self._queues)):
            self._end(number)
        await self.flush()


class Sender:
    """Sends batches one after the other and counts what the collector says of them."""

    def __init__(self, session: aiohttp.ClientSession, target: Target, summary: Summary) -> None:
        self._session = session
        self._url = f"{target.base.rstrip('/')}/v1/events"
        self._headers = {
            "X-Site-Key": target.site_key,
            "Authorization": f"Bearer {target.ingest_key}",
            "Content-Type": "application/json",
        }
        self._summary = summary
        self._patiently = stamina.AsyncRetryingCaller(attempts=ATTEMPTS, timeout=None, wait_max=30).on(to_wait)

    async def run(self, queue: Queue) -> None:
        """Send until None comes."""
        while (batch := await queue.get()) is not None:
            answer = await self._send(b"[" + b",".join(batch) + b"]")
            refused = answer["refused"]
            self._summary.refused.update(item["code"] for item in refused)
            self._summary.sent += len(batch) - len(refused)

    async def _send(self, body: bytes) -> Answer:
        try:
            return await self._patiently(self._post, body)
        except (ServerAwayError, aiohttp.ClientError, TimeoutError) as error:
            message = f"{self._url} does not answer: {error or type(error).__name__}. {ADVICE}"
            raise ImportFailedError(message) from error

    async def _post(self, body: bytes) -> Answer:
        async with self._session.post(self._url, data=body, headers=self._headers) as response:
            text = await response.read()
            if response.status in TAKEN and b'"refused"' in text:
                return dict(orjson.loads(text))
            problem = f"{response.status} {text[:300].decode('utf-8', 'replace')}"
            if response.status in COME_BACK:
                raise ServerAwayError(problem, float(response.headers.get("Retry-After", 0)))
            message = f"{self._url} refuses: {problem}. {ADVICE}"
            raise ImportFailedError(message)


class ServerAwayError(Exception):
    """The server asks to come back after some seconds."""

    def __init__(self, problem: str, seconds: float) -> None:
        super().__init__(problem)
        self.seconds = seconds


def to_wait(error: Exception) -> bool | float:
    """How stamina goes on: seconds to wait, True for its own backoff, False to give up."""
    if isinstance(error, ServerAwayError):
        return error.seconds or True
    return isinstance(error, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError | TimeoutError)


async def feed(file: Path, feeder: Feeder, progress: Progress) -> None:
    """Read one file to its end."""
    lines = 0
    feeder.begin()
    try:
        with file.open("rb") as raw:
            for lines, line in enumerate(read_lines(file, raw), start=1):
                if feeder.add(line.rstrip(b"\r\n")) is SkipReason.MALFORMED:
                    feeder.note(f"{file.name}:{lines}")
                if lines % LINES_AT_ONCE == 0:
                    await feeder.flush()
                    progress(file, raw.tell(), lines)
            progress(file, raw.tell(), lines)
    except (OSError, EOFError, zlib.error, zstd.ZstdError) as error:
        message = f"{file}: {error} (after {lines} lines)"
        raise ImportFailedError(message) from error
    await feeder.finish()


def read_lines(file: Path, raw: io.BufferedReader) -> Iterator[bytes]:
    """The lines of a plain, .gz or .zst file; the raw file's position says how far it has been read."""
    if file.suffix == ".gz":
        yield from gzip.GzipFile(fileobj=raw)
    elif file.suffix == ".zst":
        yield from zstd.ZstdFile(raw)
    else:
        yield from raw


def to_event(hit: Hit, event_id: str, domain: str) -> dict[str, str | int]:
    """The event of a page view, in the words of the HTTP contract."""
    event: dict[str, str | int] = {
        "event_id": event_id,
        "url": f"https://{domain}{hit.target}",
        "timestamp": hit.ts,
        "ip": hit.address,
        "user_agent": hit.user_agent,
    }
    if hit.referrer:
        event["referrer"] = hit.referrer
    return event


def to_uuid(digest: bytes) -> str:
    """UUIDv5 of a SHA-1 digest (RFC 9562, 5.5)."""
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{VARIANT[text[16]]}{text[17:20]}-{text[20:32]}"
