# mypy: disable-error-code="import-untyped"
"""What the group has consumed, and the broker that remembers it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiokafka.protocol.commit import OffsetFetchRequest

from ingest.log.kafka_errors import (
    LOST,
    MOVED,
    TROUBLES,
    BrokerRefusedError,
    check,
)
from ingest.log.kafka_messages import NO_GENERATION, NO_MEMBER, OffsetCommitRequest
from ingest.log.kafka_retry import steadily

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiokafka.protocol.api import Request, Response

    from ingest.log.kafka_url import KafkaPlace
    from ingest.log.kafka_wire import Wire

COMMIT = "commit"
NOBODY = (NO_GENERATION, NO_MEMBER, None)


class Coordinator:
    """The broker that knows the group; found again when it moves."""

    def __init__(self, wire: Wire, place: KafkaPlace) -> None:
        self.group = place.group
        self._wire = wire
        self._place = place
        self._node: int | None = None

    async def ask(self, request: Request, lane: str, seconds: float | None = None) -> Response:
        """Give the coordinator's answer; raise as `Wire.ask` does. An answer's error code is for `check`."""
        if self._node is None:
            self._node = await self._wire.find_coordinator(self.group)
        try:
            return await self._wire.ask(self._node, request, lane, seconds)
        except TROUBLES:
            self._node = None
            raise

    def check(self, code: int) -> None:
        """Raise BrokerRefusedError unless all is well."""
        if code in MOVED:
            self._node = None
        check(code)

    async def commit(self, who: tuple[int, str, str | None], positions: Sequence[tuple[str, int, int]]) -> None:
        """Remember (topic, partition, position) for generation, member, instance; raise LogUnavailableError.

        Raise BrokerRefusedError when that member may not (any more).
        """
        refused = await steadily(
            self._wire, self._place.deadline, "positions are not committed", lambda: self._commit(who, positions)
        )
        if refused:
            raise BrokerRefusedError(refused)

    async def committed(self, topics: Mapping[str, int]) -> Mapping[tuple[str, int], int]:
        """What was committed of topics with so many partitions, where anything was; raise LogUnavailableError."""
        wanted = [(topic, list(range(partitions))) for topic, partitions in topics.items()]
        return await steadily(
            self._wire, self._place.deadline, "committed positions cannot be read", lambda: self._committed(wanted)
        )

    async def _commit(self, who: tuple[int, str, str | None], positions: Sequence[tuple[str, int, int]]) -> int:
        """Give 0 or the code by which the member was refused."""
        answer = await self.ask(OffsetCommitRequest(self.group, who, positions), COMMIT)
        for _, partitions in answer.topics:
            for _, error in partitions:
                if error in LOST:
                    return int(error)
                self.check(error)
        return 0

    async def _committed(self, wanted: Sequence[tuple[str, Sequence[int]]]) -> Mapping[tuple[str, int], int]:
        answer = await self.ask(OffsetFetchRequest(self.group, wanted), COMMIT)
        self.check(answer.error_code)
        found: dict[tuple[str, int], int] = {}
        for topic, partitions in answer.topics:
            for number, position, _, error in partitions:
                self.check(error)
                if position >= 0:
                    found[topic, number] = position
        return found
