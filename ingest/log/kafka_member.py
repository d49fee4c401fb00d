# mypy: disable-error-code="import-untyped"
"""One member of a group as the brokers see it: join, heartbeat, leave.

A static member under the classic protocol, eager: a broker knows it by the name of its instance, so that whoever comes
back under the same name within its session gets its partitions again and nobody else is disturbed. aiokafka's own
coordinator says that name only when it joins: it never hears that another process has taken its name, cannot leave, and
commits under whatever generation it has by then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.protocol.group import JoinGroupRequest, SyncGroupRequest

from ingest.log.kafka_errors import MEMBER_ID_REQUIRED
from ingest.log.kafka_messages import NO_GENERATION, NO_MEMBER, HeartbeatRequest, LeaveGroupRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingest.log.kafka_offsets import Coordinator
    from ingest.log.kafka_url import KafkaPlace

REBALANCE_MS = 60_000  # how long the brokers wait for members to finish what is under way
JOIN_SECONDS = REBALANCE_MS / 1000 + 10
# One name for what the members agree on. Whoever changes `assign` changes the name: then two versions do not mix.
PROTOCOL = "pulse-1"
VERSION = 0  # of the consumer protocol's own structures, which other tools read


class Member:
    """Speaks for one instance. `who` changes with every generation."""

    def __init__(self, coordinator: Coordinator, place: KafkaPlace, partitions: int, instance: str) -> None:
        self.instance = instance
        self._coordinator = coordinator
        self._place = place
        self._partitions = partitions
        self._generation = NO_GENERATION
        self._member = NO_MEMBER

    @property
    def who(self) -> tuple[int, str, str | None]:
        """Generation, member, instance: what a commit goes with."""
        return self._generation, self._member, self.instance

    def forget(self) -> None:
        """The brokers do not know this member any more: join as a new one."""
        self._generation, self._member = NO_GENERATION, NO_MEMBER

    async def enter(self) -> Sequence[int]:
        """Join, and give the partitions that this member has; it waits for those who have them to let go.

        Raise as `Coordinator.ask` does, BrokerRefusedError.
        """
        metadata = ConsumerProtocolMemberMetadata(VERSION, [self._place.topic], b"").encode()
        request = JoinGroupRequest(
            self._place.group,
            self._place.session_ms,
            REBALANCE_MS,
            self._member,
            self.instance,
            "consumer",
            [(PROTOCOL, metadata)],
        )
        answer = await self._coordinator.ask(request, f"join {self.instance}", JOIN_SECONDS)
        if answer.error_code == MEMBER_ID_REQUIRED:
            self._member = answer.member_id
        self._coordinator.check(answer.error_code)
        self._generation, self._member = answer.generation_id, answer.member_id
        shares = self._divide(answer.members) if answer.leader_id == answer.member_id else []
        return await self._learn_share(shares)

    async def beat(self, seconds: float) -> None:
        """Say that this member is alive; raise as `Coordinator.ask` does, BrokerRefusedError."""
        request = HeartbeatRequest(self._place.group, self._generation, self._member, self.instance)
        answer = await self._coordinator.ask(request, "beat", seconds)
        self._coordinator.check(answer.error_code)

    async def leave(self) -> None:
        """Let the others have everything now; raise as `Coordinator.ask` does, BrokerRefusedError."""
        answer = await self._coordinator.ask(LeaveGroupRequest(self._place.group, self._member, self.instance), "beat")
        self._coordinator.check(answer.error_code)
        for _, _, error in answer.members:
            self._coordinator.check(error)

    def _divide(self, members: Sequence[tuple[str, str | None, bytes]]) -> Sequence[tuple[str, bytes]]:
        names = {
            member: instance or member
            for member, instance, metadata in members
            if self._place.topic in ConsumerProtocolMemberMetadata.decode(metadata).subscription
        }
        return [
            (member, ConsumerProtocolMemberAssignment(VERSION, [(self._place.topic, list(share))], b"").encode())
            for member, share in assign(names, self._partitions).items()
        ]

    async def _learn_share(self, shares: Sequence[tuple[str, bytes]]) -> Sequence[int]:
        """Tell the members their shares, if this one leads them, and hear one's own."""
        request = SyncGroupRequest(self._place.group, self._generation, self._member, self.instance, shares)
        answer = await self._coordinator.ask(request, f"join {self.instance}", JOIN_SECONDS)
        self._coordinator.check(answer.error_code)
        if not answer.member_assignment:
            return ()
        assignment = ConsumerProtocolMemberAssignment.decode(answer.member_assignment).assignment
        return sorted(number for topic, numbers in assignment if topic == self._place.topic for number in numbers)


def assign(names: Mapping[str, str], partitions: int) -> Mapping[str, Sequence[int]]:
    """Deal the partitions out in turn to the members in the order of their names, which stay over restarts."""
    members = sorted(names, key=lambda member: (names[member], member))
    return {member: range(place, partitions, len(members)) for place, member in enumerate(members)}
