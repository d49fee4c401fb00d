"""Shares of a Kafka log: one task keeps the membership, whatever the consumer does meanwhile.

A share is held until it is released. While others wait for it (`ended`), heartbeats go on, so that the brokers wait for
the release as long as for any member; who takes longer than that has lost it. A share that is lost is never given back:
its commits are refused here as soon as it is known, and by the brokers in any case, since they go with the share's own
generation.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from ingest.log import LogUnavailableError, ShareLostError
from ingest.log.kafka_errors import (
    FENCED_INSTANCE,
    LOST,
    REBALANCING,
    TROUBLES,
    BrokerRefusedError,
    may_pass,
    to_reason,
)
from ingest.log.kafka_retry import PAUSE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingest.log.kafka_member import Member
    from ingest.log.kafka_offsets import Coordinator
    from ingest.log.kafka_url import KafkaPlace

BEATS = 10  # at least, in a session
SLOWEST_BEAT = 1.0  # seconds: with a heartbeat a member hears that others wait
TOLD_AFTER = 10.0  # seconds of trouble until `next_share` says so
log = structlog.get_logger()


class KafkaShare:
    """Partitions that the group has given to one consumer, under one generation."""

    def __init__(self, coordinator: Coordinator, topic: str, member: Member, partitions: Sequence[int]) -> None:
        self.partitions = tuple(partitions)
        self.ended = asyncio.Event()
        self.released = asyncio.Event()
        self._coordinator = coordinator
        self._topic = topic
        self._who = member.who
        self._lost = ""

    async def commit(self, positions: Mapping[int, int]) -> None:
        """Remember how far the partitions have been consumed, if they are still this consumer's."""
        if foreign := positions.keys() - set(self.partitions):
            message = f"partitions {sorted(foreign)} are not of this share"
            raise ValueError(message)
        if self._lost:
            raise ShareLostError(self._lost)
        if not positions:
            return
        offsets = [(self._topic, partition, position) for partition, position in positions.items()]
        try:
            await self._coordinator.commit(self._who, offsets)
        except BrokerRefusedError as error:
            self.lose(to_loss(error))
            raise ShareLostError(self._lost) from error

    def release(self) -> None:
        """Nothing is under way any more; others may have the partitions."""
        self._lost = self._lost or "the share was released"
        self.released.set()

    def lose(self, reason: str) -> None:
        """It belongs to others by now."""
        self._lost = self._lost or reason
        self.ended.set()


class KafkaGroup:
    """Keeps one member in the group until `leave` or `abandon`."""

    def __init__(self, member: Member, coordinator: Coordinator, place: KafkaPlace) -> None:
        """Join at once, in the background."""
        self._member = member
        self._coordinator = coordinator
        self._place = place
        self._offered: KafkaShare | None = None  # nobody has taken it yet
        self._held: KafkaShare | None = None
        self._changed = asyncio.Event()
        self._trouble = ""
        self._fatal: Exception | None = None
        self._task = asyncio.create_task(self._run(), name=f"group {place.group}")

    async def next_share(self) -> KafkaShare:
        """Wait until partitions (or none) are given to this consumer; the share before must have been released.

        Raise LogUnavailableError after some seconds in which no broker could be asked (call again: joining goes on),
        ValueError when this member cannot be in the group at all, as when another process has its name.
        """
        while True:
            if self._fatal is not None:
                raise self._fatal
            if self._offered is not None:
                self._held, self._offered = self._offered, None
                return self._held
            self._changed.clear()
            try:
                async with asyncio.timeout(TOLD_AFTER):
                    await self._changed.wait()
            except TimeoutError as error:
                if self._trouble:
                    raise LogUnavailableError(self._trouble) from error

    async def leave(self) -> None:
        """Let the others have the partitions now. May be called twice."""
        await self.abandon()
        try:
            await self._member.leave()
        except TROUBLES as error:  # they will know when the session ends
            log.info("group_not_left", member=self._member.instance, problem=to_reason(error))

    async def abandon(self) -> None:
        """Go without a word: whoever comes back under this name within its session has the same partitions again."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._end("the member has left")

    async def _run(self) -> None:
        try:
            while True:
                share = await self._enter()
                self._offered = share
                self._changed.set()
                await self._keep(share)
        except Exception as error:
            self._end(str(error), error)
            if not isinstance(error, ValueError):  # else it is told to whoever asks for a share
                log.exception("group_broke_off", member=self._member.instance)

    def _end(self, reason: str, error: Exception | None = None) -> None:
        for share in (self._offered, self._held):
            if share is not None:
                share.lose(reason)
        self._offered = None
        self._fatal = error or self._fatal or LogUnavailableError(reason)
        self._changed.set()

    async def _enter(self) -> KafkaShare:
        """Join until it succeeds; raise ValueError when it never will."""
        while True:
            try:
                partitions = await self._member.enter()
            except TROUBLES as error:
                self._refuse_for_good(error)
                if isinstance(error, BrokerRefusedError) and error.code in LOST:
                    self._member.forget()
                else:
                    self._trouble = f"the group {self._place.group} cannot be joined: {to_reason(error)}"
                    await asyncio.sleep(PAUSE)
            else:
                self._trouble = ""
                log.info("share", member=self._member.instance, partitions=list(partitions))
                return KafkaShare(self._coordinator, self._place.topic, self._member, partitions)

    async def _keep(self, share: KafkaShare) -> None:
        """Heartbeats until the share is released, or lost and released."""
        loop = asyncio.get_running_loop()
        interval = min(SLOWEST_BEAT, self._place.session_ms / 1000 / BEATS)
        heard = loop.time()
        while not self._is_let_go(share):
            asked = loop.time()
            try:
                await self._member.beat(interval * 3)
                heard = asked
            except TROUBLES as error:
                if not await self._survives(share, error):
                    return
                if loop.time() - heard > self._place.session_ms / 1000:
                    share.ended.set()  # others may have the partitions by now; only a broker can tell
            try:
                async with asyncio.timeout(interval):
                    await share.released.wait()
            except TimeoutError:
                continue

    def _is_let_go(self, share: KafkaShare) -> bool:
        if share.ended.is_set() and self._offered is share:  # nobody has begun with it
            self._offered = None
            share.release()
        return share.released.is_set()

    async def _survives(self, share: KafkaShare, error: Exception) -> bool:
        """Whether the member is still one after that; when not, wait until the share is released."""
        if isinstance(error, BrokerRefusedError) and error.code == REBALANCING:
            share.ended.set()
            return True
        self._refuse_for_good(error)
        if not (isinstance(error, BrokerRefusedError) and error.code in LOST):
            return True
        log.warning("share_lost", member=self._member.instance, partitions=list(share.partitions), problem=str(error))
        share.lose(to_loss(error))
        self._member.forget()
        if not self._is_let_go(share):
            await share.released.wait()
        return False

    def _refuse_for_good(self, error: Exception) -> None:
        """Raise ValueError for what will not pass by itself."""
        if isinstance(error, BrokerRefusedError) and error.code == FENCED_INSTANCE:
            message = (
                f"another process has joined the group {self._place.group} as {self._member.instance!r}: "
                "give each consumer a name of its own, and run one process under each"
            )
            raise ValueError(message) from error
        lasting = not may_pass(error) and not (isinstance(error, BrokerRefusedError) and error.code in LOST)
        if lasting and not (isinstance(error, BrokerRefusedError) and error.code == REBALANCING):
            message = f"the group {self._place.group} does not take {self._member.instance!r}: {to_reason(error)}"
            raise ValueError(message) from error


def to_loss(error: BrokerRefusedError) -> str:
    """Say that a share is gone."""
    return f"the partitions belong to another consumer by now ({error})"
