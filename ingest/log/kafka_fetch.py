# mypy: disable-error-code="import-untyped"
"""Reads by position: what a leader holds from there on, and where a partition begins and ends.

Positions are Kafka's offsets. A fetch sees everything that is acknowledged, transactions or not: whoever else writes
into the topic cannot hide an event or hold one back.

A broker may answer a fetch though it does not lead (KIP-392), and one that was killed and comes back does so before it
leads again, with the end that it last wrote down: in 124 of 144 fetches right after a start an end of 0 where there
were five records, and no error. Only a leader answers a question for the end. So an end that is lower than one that was
known, or the first one that is heard, is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest

from ingest.log import DEAD, Bounds, LogDamagedError
from ingest.log.kafka_errors import OFFSET_OUT_OF_RANGE, NotReachedError, check
from ingest.log.kafka_record import to_records
from ingest.log.kafka_retry import steadily

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingest.log import Record
    from ingest.log.kafka_url import KafkaPlace
    from ingest.log.kafka_wire import Wire

FETCH = "fetch"
UNCOMMITTED = 0  # isolation
EARLIEST, LATEST = -2, -1


@dataclass(frozen=True, slots=True)
class Fetched:
    """Records from a position on, the position behind them, and where the partition ended then."""

    records: Sequence[Record]
    behind: int
    end: int


class Fetcher:
    """Asks leaders. What does not succeed within the deadline of the log is unavailable."""

    def __init__(self, wire: Wire, place: KafkaPlace) -> None:
        self._wire = wire
        self._place = place
        self._ends: dict[int, int] = {}  # as far as was heard

    def learn_end(self, partition: int, end: int) -> None:
        """Take note that the partition reaches up to there."""
        self._ends[partition] = max(end, self._ends.get(partition, 0))

    def place_of(self, partition: int) -> tuple[str, int]:
        """Topic and number of a partition of the log."""
        return (self._place.dead_topic, 0) if partition == DEAD else (self._place.topic, partition)

    async def fetch(self, partition: int, position: int, size: int) -> Fetched:
        """Give what there is from `position` on, about `size` bytes as they are stored but one batch at least.

        Raise LogDamagedError when the position lies outside the partition's bounds, LogUnavailableError.
        """
        what = f"log partition {partition} cannot be read"
        try:
            return await steadily(
                self._wire, self._place.deadline, what, lambda: self._fetch(partition, position, size)
            )
        except OutsideError:
            bounds = await self.bounds(partition)  # of a leader that was asked for anew
            if bounds.begin <= position <= bounds.end:
                return Fetched((), position, bounds.end)
            raise to_outside(partition, position, bounds) from None

    async def bounds(self, partition: int) -> Bounds:
        """Where the partition begins and ends now."""
        return Bounds(await self._offset(partition, EARLIEST), await self.end(partition))

    async def end(self, partition: int) -> int:
        """Where the partition ends now."""
        return await self._offset(partition, LATEST)

    async def poll(self, node: int, positions: Mapping[int, int], milliseconds: int) -> Mapping[int, int]:
        """Wait at one broker until one of the partitions that it leads holds something at its position.

        Give the ends of all; raise as `Wire.ask` does, BrokerRefusedError when a partition is not led there.
        """
        topics: dict[str, list[tuple[int, int, int]]] = {}
        numbers: dict[tuple[str, int], int] = {}
        for partition, position in positions.items():
            topic, number = self.place_of(partition)
            topics.setdefault(topic, []).append((number, position, 1))
            numbers[topic, number] = partition
        request = FetchRequest(milliseconds, 1, 1, UNCOMMITTED, list(topics.items()))
        answer = await self._wire.ask(node, request, "poll", milliseconds / 1000 + 5)
        ends: dict[int, int] = {}
        for topic, partitions in answer.topics:
            for number, error, end, *_ in partitions:
                check(error)
                ends[numbers[topic, number]] = end
        return ends

    def leader(self, partition: int) -> int:
        """Which broker leads a partition of the log; raise NotReachedError when nobody is known to."""
        leader = self._wire.leader(*self.place_of(partition))
        if leader < 0:
            message = "it has no leader"
            raise NotReachedError(message)
        return leader

    async def _fetch(self, partition: int, position: int, size: int) -> Fetched:
        if position < 0:
            raise OutsideError
        topic, number = self.place_of(partition)
        request = FetchRequest(0, 0, size, UNCOMMITTED, [(topic, [(number, position, size)])])
        answer = await self._wire.ask(self.leader(partition), request, FETCH)
        ((_, ((_, error, end, *_, data),)),) = answer.topics
        if error == OFFSET_OUT_OF_RANGE:
            await self._wire.refresh()
            raise OutsideError
        check(error)
        records, behind = to_records(partition, position, data or b"")
        if behind == position < end:  # a quota, or a leader that has only just become one
            message = f"the leader gives nothing at position {position} though the end is {end}"
            raise NotReachedError(message)
        if behind >= end:
            await self._refuse_unsure(partition, behind, end)
        self.learn_end(partition, end)
        return Fetched(records, behind, end)

    async def _refuse_unsure(self, partition: int, behind: int, end: int) -> None:
        """Raise NotReachedError or BrokerRefusedError when this was not the end, or nobody can tell yet."""
        if end >= self._ends.get(partition, end + 1):
            return
        sure = await self._ask_offset(partition, LATEST)
        if sure > behind:
            message = f"the broker says that it ends at {end}, but it ends at {sure}"
            raise NotReachedError(message)
        self._ends[partition] = sure

    async def _offset(self, partition: int, which: int) -> int:
        what = f"the bounds of log partition {partition} cannot be read"
        return await steadily(self._wire, self._place.deadline, what, lambda: self._ask_offset(partition, which))

    async def _ask_offset(self, partition: int, which: int) -> int:
        topic, number = self.place_of(partition)
        request = OffsetRequest(-1, UNCOMMITTED, [(topic, [(number, which)])])
        answer = await self._wire.ask(self.leader(partition), request)
        ((_, ((_, error, _, offset, *_),)),) = answer.topics
        check(error)
        return int(offset)


class OutsideError(Exception):
    """The leader says that the position is outside."""


def to_outside(partition: int, position: int, bounds: Bounds) -> LogDamagedError:
    """Make the error for a position outside the bounds."""
    return LogDamagedError(
        f"position {position} of log partition {partition} was asked for, but it holds {bounds.begin} to {bounds.end}: "
        "deleted after its retention, or the topic of another time"
    )
