"""Clients that remember what they sent and what was acknowledged."""

from __future__ import annotations

import http.client
import json
import threading
import uuid
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

DOMAIN = "kill.test"
VISITORS = 40
BATCHES = (1, 1, 1, 2, 5, 20, 60)
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
PAUSE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Batch:
    """The events of one request, each a page view of a path of its own."""

    paths: tuple[str, ...]
    ids: tuple[str, ...]
    visitor: int

    def to_body(self, attempt: int) -> bytes:
        """The request's body."""
        events = [
            {
                "url": f"https://{DOMAIN}{path}",
                "event_id": event_id,
                "user_id": f"visitor {self.visitor}",
                "attempt": attempt,
            }
            for path, event_id in zip(self.paths, self.ids, strict=True)
        ]
        return json.dumps(events).encode()


@dataclass(slots=True)
class Book:
    """What became of every batch, by its first path. `refused` counts answers of 429 and 503, `strange` tells others.

    What is unknown was sent but not acknowledged: it may be stored or not.
    """

    acknowledged: dict[str, Batch] = field(default_factory=dict)
    unknown: dict[str, Batch] = field(default_factory=dict)
    refused: int = 0
    strange: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, batch: Batch, status: int, answer: bytes) -> None:
        """Write down what the server said; status 0 is a connection that broke."""
        with self.lock:
            if status == http.client.ACCEPTED and json.loads(answer) == {"accepted": len(batch.ids), "refused": []}:
                self.acknowledged[batch.paths[0]] = batch
                self.unknown.pop(batch.paths[0], None)
                return
            self.unknown[batch.paths[0]] = batch
            if status in {http.client.TOO_MANY_REQUESTS, http.client.SERVICE_UNAVAILABLE}:
                self.refused += 1
            elif status:
                self.strange.append(f"{status} {answer[:200]!r}")


class Sender(threading.Thread):
    """One connection that sends batch after batch until it breaks or `stop` is set; first `again`, a second time."""

    def __init__(self, address: tuple[str, int], site_key: str, name: str, book: Book, random_: random.Random) -> None:
        super().__init__(name=name, daemon=True)
        self._connection = http.client.HTTPConnection(*address, timeout=30)
        self._site_key = site_key
        self._book = book
        self._random = random_
        self.again: Sequence[Batch] = ()
        self.stop = threading.Event()

    def run(self) -> None:
        """Send."""
        with closing(self._connection):
            self._send_all()

    def _send_all(self) -> None:
        number = 0
        for batch in self.again:
            if not self._send(batch, 2):
                return
        while not self.stop.is_set():
            size = self._random.choice(BATCHES)
            paths = tuple(f"{self.name}/{number + place}" for place in range(size))
            ids = tuple(str(uuid.uuid4()) for _ in paths)
            if not self._send(Batch(paths, ids, self._random.randrange(VISITORS)), 1):
                return
            number += size

    def _send(self, batch: Batch, attempt: int) -> bool:
        """Whether the connection still stands."""
        headers = {"X-Site-Key": self._site_key, "Content-Type": "application/json", "User-Agent": AGENT}
        try:
            self._connection.request("POST", "/v1/events", batch.to_body(attempt), headers)
            response = self._connection.getresponse()
            status, answer = response.status, response.read()
        except (OSError, http.client.HTTPException):
            self._book.note(batch, 0, b"")
            return False
        self._book.note(batch, status, answer)
        if status != http.client.ACCEPTED:
            self.stop.wait(PAUSE_SECONDS)
        return True
