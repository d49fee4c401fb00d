"""Who is there now, as a stream: one shared question however many listen, asked only when its answer may have changed.

A `Channel` is one question with its listeners. It asks when a batch has landed or somebody drops out of the five
minutes, at most once a second, and only while somebody listens. Each message is the whole state, so a listener that
was away misses nothing: it gets the state as it is now, unless it has seen just that (`Last-Event-ID`). Nothing is
buffered for anybody: a channel holds its latest message and no other.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

import orjson
import structlog
from sqlalchemy.exc import SQLAlchemyError

from query_api.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from query_api.question import Question
    from schemas.event import SiteId
    from schemas.warehouse.client import Limits, Warehouse

log = structlog.get_logger()

NEXT_SQL = resources.files("query_api").joinpath("sql/realtime_next.sql").read_text()
SPACING = 1.0  # seconds between two questions of a channel
AFTER_FAILURE = 5.0
RECHECK = 1.0  # seconds until a stream notices that its key is revoked
DIGEST_BYTES = 6
NEVER = 0


@dataclass(frozen=True, slots=True)
class State:
    """An answer as JSON: `rows` decides whether anything changed; `body` is the whole.

    `as_of` and `next_change` are epoch milliseconds; the latter is when the rows change if nothing arrives, or NEVER.
    """

    rows: bytes
    body: bytes
    as_of: int
    next_change: int


@dataclass(frozen=True, slots=True)
class Message:
    """One event of a stream."""

    id: str
    body: bytes

    def to_bytes(self) -> bytes:
        """As Server-Sent Events write it; the body has no line break."""
        return b"id: " + self.id.encode() + b"\ndata: " + self.body + b"\n\n"


Ask = Callable[["Question"], Awaitable[State]]
Recheck = Callable[["Listener"], Awaitable[None]]


class Listener:
    """Somebody who listens to a channel with a key; `ended` says why it must stop, once it must."""

    def __init__(self, key_id: int, question: Question, last_id: str) -> None:
        self.key_id = key_id
        self.question = question
        self.ended = ""
        self._seen = last_id.rpartition("-")[2]
        self._latest: Message | None = None
        self._changed = asyncio.Event()

    def tell(self, message: Message) -> None:
        """There is a newer state; one that was not fetched yet is forgotten."""
        self._latest = message
        self._changed.set()

    def end(self, reason: str) -> None:
        """Let the stream stop."""
        self.ended = reason
        self._changed.set()

    async def wait(self, seconds: float) -> Message | None:
        """The state as soon as it is another one than this listener has seen; None after `seconds` or at the end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.ended:
                    await self._changed.wait()
                    self._changed.clear()
                    message, self._latest = self._latest, None
                    if message is not None and not message.id.endswith("-" + self._seen):
                        self._seen = message.id.rpartition("-")[2]
                        return message
        return None


class Channel:
    """One question, its latest state and who listens."""

    def __init__(self, question: Question, ask: Ask, clock: Callable[[], int]) -> None:
        self.listeners: set[Listener] = set()
        self.latest: Message | None = None
        self._question = question
        self._ask = ask
        self._clock = clock
        self._landed = asyncio.Event()

    def wake(self) -> None:
        """Something has landed."""
        self._landed.set()

    async def run(self) -> None:
        """Ask and tell until cancelled."""
        while True:
            self._landed.clear()
            try:
                state = await self._ask(self._question)
            except Exception:  # a stream must go on, whatever one question met
                log.exception("realtime_failed")
                await asyncio.sleep(AFTER_FAILURE)
                continue
            self._publish(state)
            await asyncio.sleep(SPACING)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._until(state.next_change)):
                    await self._landed.wait()

    def _until(self, instant: int) -> float | None:
        return None if instant == NEVER else max(0.0, (instant - self._clock()) / 1000)

    def _publish(self, state: State) -> None:
        digest = hashlib.sha256(state.rows).digest()[:DIGEST_BYTES].hex()
        if self.latest is None or not self.latest.id.endswith("-" + digest):
            self.latest = Message(f"{state.as_of}-{digest}", state.body)
            for listener in self.listeners:
                listener.tell(self.latest)


class RealtimeHub:
    """All channels of this process."""

    def __init__(self, ask: Ask, clock: Callable[[], int]) -> None:
        self._ask = ask
        self._clock = clock
        self._channels: dict[Question, Channel] = {}
        self._tasks: dict[Question, asyncio.Task[None]] = {}

    @contextmanager
    def listen(self, listener: Listener) -> Iterator[None]:
        """Be told while inside; the first one in opens the channel, the last one out closes it.

        Questions that differ in nothing are one channel.
        """
        question = listener.question
        channel = self._channels.get(question)
        if channel is None:
            channel = self._channels[question] = Channel(question, self._ask, self._clock)
            self._tasks[question] = asyncio.create_task(channel.run(), name="realtime")
        channel.listeners.add(listener)
        if channel.latest is not None:
            listener.tell(channel.latest)
        try:
            yield
        finally:
            channel.listeners.discard(listener)
            if not channel.listeners:
                del self._channels[question]
                self._tasks.pop(question).cancel()

    def wake(self) -> None:
        """Rows have landed."""
        for channel in self._channels.values():
            channel.wake()

    def end_all(self, reason: str) -> None:
        """Let every stream stop."""
        for listener in self.listeners:
            listener.end(reason)

    async def recheck_keys(self, recheck: Recheck) -> None:
        """Every second, until cancelled: end the streams whose key may not listen any more.

        One that cannot be asked about goes on and is asked about again.
        """
        while True:
            await asyncio.sleep(RECHECK)
            for listener in self.listeners:
                try:
                    await recheck(listener)
                except ApiError as error:
                    listener.end(error.message)
                except SQLAlchemyError as error:
                    log.warning("keys_not_rechecked", problem=type(error).__name__)
                    break  # the others would fail alike
                except Exception:  # of one stream; the keys of the others are looked at still
                    log.exception("key_not_rechecked")

    @property
    def listeners(self) -> list[Listener]:
        """Everybody who listens."""
        return [listener for channel in self._channels.values() for listener in channel.listeners]


async def read_next_change(warehouse: Warehouse, sites: Sequence[SiteId], now: datetime, limits: Limits) -> int:
    """When the current visitors of these sites change next if nothing arrives: epoch milliseconds, or NEVER."""
    rows = (await warehouse.query(NEXT_SQL, {"sites": list(sites), "now": now}, limits)).to_pylist()
    return int(rows[0]["next_change"])


def to_state(body: dict[str, object], as_of: int, next_change: int) -> State:
    """The state of an answer in the shape of `/v1/realtime`."""
    return State(orjson.dumps(body["data"]), orjson.dumps(body), as_of, next_change)
