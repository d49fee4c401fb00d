"""Clients that remember every event that was acknowledged, and send again what was not until it is.

Every event has a path of its own, so that a list of paths shows which is missing and which is there twice.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
import uuid
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SIZES = (1, 1, 1, 2, 5, 10, 30)
MEAN_SIZE = sum(SIZES) / len(SIZES)
VISITORS = 200
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
ANSWER_SECONDS = 12.0  # above the log's deadline: a collector that is well always answers before
PAUSE_SECONDS = 0.2
REPEATED = 0.03
AS_SERVER = 0.1  # of the batches, where there is a key: their events lie in several months
OLDEST = 150 * 86_400_000


@dataclass(frozen=True, slots=True)
class Batch:
    """The events of one request. With `times` (epoch ms) of each it is sent as a server does, with its key.

    Without `visitor` its client has another address each time that it sends, so that a copy lies anywhere in the log.
    """

    paths: tuple[str, ...]
    ids: tuple[str, ...]
    visitor: str
    times: tuple[int, ...] = ()

    def to_body(self, site_key: str, attempt: int) -> bytes:
        """The request's body."""
        events: list[dict[str, object]] = [
            {"url": f"https://localhost{path}", "event_id": event_id, "attempt": attempt, "site_key": site_key}
            for path, event_id in zip(self.paths, self.ids, strict=True)
        ]
        for event in events if self.visitor else ():
            event["user_id"] = self.visitor
        for event, moment in zip(events, self.times, strict=False):
            event["timestamp"] = moment
        return json.dumps(events).encode()


@dataclass(slots=True)
class Book:
    """What became of every batch. Counts are of requests: told 429 or 5xx, broken or too late, sent again."""

    acknowledged: list[Batch] = field(default_factory=list)
    events: int = 0
    refused: int = 0
    broken: int = 0
    again: int = 0
    strange: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, batch: Batch, status: int, answer: bytes) -> bool:
        """Write down what was said (status 0: nothing), and say whether all was acknowledged."""
        with self.lock:
            if status == http.client.ACCEPTED and json.loads(answer) == {"accepted": len(batch.ids), "refused": []}:
                self.acknowledged.append(batch)
                self.events += len(batch.ids)
                return True
            if status == 0:
                self.broken += 1
            elif status == http.client.TOO_MANY_REQUESTS or status >= http.client.INTERNAL_SERVER_ERROR:
                self.refused += 1
            else:
                self.strange.append(f"{status} {answer[:300]!r}")
            self.again += 1
            return False


@dataclass(frozen=True, slots=True)
class Target:
    """Where clients send to: host:port of each collector, and with which keys; as a server only with a key for it.

    `roaming` is the share of batches whose client's address changes.
    """

    addresses: Sequence[str]
    site_key: str
    ingest_key: str = ""
    roaming: float = 0.0


class Client(threading.Thread):
    """Sends batch after batch, `rate` events a second, each until it is acknowledged; `stop` ends it after the last.

    The time that a batch takes is time in which no other is due, unless the client `keeps_pace`: then all that an
    outage held back is due when it is over.
    """

    def __init__(  # noqa: PLR0913 - a client is all of that
        self, target: Target, prefix: str, book: Book, seed: int, rate: float, *, keeps_pace: bool = False
    ) -> None:
        super().__init__(name=prefix, daemon=True)
        self.stop = threading.Event()
        self.give_up = threading.Event()
        self._target = target
        self._book = book
        self._random = random.Random(seed)  # noqa: S311 - sizes and moments, not secrets
        self._pause = MEAN_SIZE / rate
        self._keeps_pace = keeps_pace
        self._due = float("inf")  # monotonic seconds: the next batch
        self._connection: http.client.HTTPConnection | None = None
        self._number = 0

    @property
    def behind(self) -> float:
        """For how many seconds the next batch has been due."""
        return max(0.0, time.monotonic() - self._due)

    def run(self) -> None:
        """Send until `stop`, and the last until it is acknowledged or `give_up` is set."""
        self._due = time.monotonic() + self._random.expovariate(1 / self._pause)
        while not self.stop.wait(self._due - time.monotonic()):
            batch = self._make()
            attempt = 1
            while not self._send(batch, attempt) and not self.give_up.wait(PAUSE_SECONDS):
                attempt += 1
            if self._target.roaming and self._random.random() < REPEATED:
                self._repeat(batch, attempt + 1)
            begin = self._due if self._keeps_pace else time.monotonic()
            self._due = begin + self._random.expovariate(1 / self._pause)
        self._disconnect()

    def _make(self) -> Batch:
        size = self._random.choice(SIZES)
        paths = tuple(f"{self.name}/{self._number + place}" for place in range(size))
        self._number += size
        ids = tuple(str(uuid.UUID(int=self._random.getrandbits(128))) for _ in paths)
        roams = self._random.random() < self._target.roaming
        visitor = "" if roams else f"visitor {self._random.randrange(VISITORS)}"
        if not self._target.ingest_key or self._random.random() > AS_SERVER:
            return Batch(paths, ids, visitor)
        now = time.time_ns() // 10**6
        return Batch(paths, ids, visitor, tuple(now - self._random.randrange(OLDEST) for _ in paths))

    def _send(self, batch: Batch, attempt: int) -> bool:
        """Whether it is acknowledged; after anything else the next collector is asked."""
        status, answer = 0, b""
        with suppress(OSError, http.client.HTTPException):  # noted as status 0
            status, answer = self._ask(batch, attempt)
        well = self._book.note(batch, status, answer)
        if not well:
            self._disconnect()
        return well

    def _repeat(self, batch: Batch, attempt: int) -> None:
        """Send what was acknowledged once more, as one does who has not heard it."""
        try:
            self._ask(batch, attempt)
        except (OSError, http.client.HTTPException):
            self._disconnect()

    def _ask(self, batch: Batch, attempt: int) -> tuple[int, bytes]:
        if self._connection is None:
            address = self._random.choice(self._target.addresses)
            self._connection = http.client.HTTPConnection(address, timeout=ANSWER_SECONDS)
        headers: Mapping[str, str] = {"Content-Type": "application/json", "User-Agent": AGENT}
        if not batch.visitor:
            headers = {**headers, "X-Forwarded-For": f"203.0.113.{self._random.randrange(256)}"}
        if batch.times:
            headers = {**headers, "Authorization": f"Bearer {self._target.ingest_key}"}
        self._connection.request("POST", "/v1/events", batch.to_body(self._target.site_key, attempt), headers)
        with closing(self._connection.getresponse()) as response:
            return response.status, response.read()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
