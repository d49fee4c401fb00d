# mypy: disable-error-code="import-untyped", allow-subclassing-any
"""Requests of Kafka's protocol that aiokafka 0.14 does not have: topic ids, and what static members say of themselves.

Without the name of the instance in heartbeats and commits a broker takes a second process of the same name for the
first one that came back, and neither hears of the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Array,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    String,
    TaggedFields,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import BytesIO

TEXT = String("utf-8")
COMPACT = CompactString("utf-8")
NO_ID = bytes(16)
NO_MEMBER = ""
NO_GENERATION = -1


class TopicId:
    """Sixteen bytes; a schema takes an instance of any class that encodes and decodes."""

    @staticmethod
    def encode(value: bytes) -> bytes:
        """As they are."""
        return value

    @staticmethod
    def decode(data: BytesIO) -> bytes:
        """The next sixteen."""
        return data.read(16)


class MetadataResponse10(Response):
    """Brokers, and of each topic its id, leaders and replicas."""

    API_KEY: ClassVar[int] = 3
    API_VERSION: ClassVar[int] = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(("id", Int32), ("host", COMPACT), ("port", Int32), ("rack", COMPACT), ("_", TaggedFields)),
        ),
        ("cluster_id", COMPACT),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", COMPACT),
                ("topic_id", TopicId()),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("in_sync", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                        ("_", TaggedFields),
                    ),
                ),
                ("operations", Int32),
                ("_", TaggedFields),
            ),
        ),
        ("operations", Int32),
        ("_", TaggedFields),
    )


class MetadataRequest10(RequestStruct):
    """Names of topics; none of them is made by asking."""

    API_KEY = 3
    API_VERSION = 10
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = MetadataResponse10
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", TopicId()), ("name", COMPACT), ("_", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_operations", Boolean),
        ("include_topic_operations", Boolean),
        ("_", TaggedFields),
    )


class MetadataRequest(Request[MetadataRequest10]):
    """What a broker knows of these topics."""

    API_KEY = 3

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = topics

    def build(self, struct: type[MetadataRequest10]) -> MetadataRequest10:
        """Ask by name."""
        return struct([(NO_ID, topic, {}) for topic in self._topics], False, False, False, {})  # noqa: FBT003 - the wire


class HeartbeatResponse3(Response):
    """An error code."""

    API_KEY: ClassVar[int] = 12
    API_VERSION: ClassVar[int] = 3
    SCHEMA = Schema(("throttle_time_ms", Int32), ("error_code", Int16))


class HeartbeatRequest3(RequestStruct):
    """Version 3 names the instance."""

    API_KEY = 12
    API_VERSION = 3
    RESPONSE_TYPE = HeartbeatResponse3
    SCHEMA = Schema(("group", TEXT), ("generation", Int32), ("member", TEXT), ("instance", TEXT))


class HeartbeatRequest(Request[HeartbeatRequest3]):
    """The member is alive."""

    API_KEY = 12

    def __init__(self, group: str, generation: int, member: str, instance: str) -> None:
        self._fields = (group, generation, member, instance)

    def build(self, struct: type[HeartbeatRequest3]) -> HeartbeatRequest3:
        """As it is."""
        return struct(*self._fields)


class LeaveGroupResponse3(Response):
    """An error code for all and one for each."""

    API_KEY: ClassVar[int] = 13
    API_VERSION: ClassVar[int] = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("members", Array(("member", TEXT), ("instance", TEXT), ("error_code", Int16))),
    )


class LeaveGroupRequest3(RequestStruct):
    """Version 3 lets a static member leave."""

    API_KEY = 13
    API_VERSION = 3
    RESPONSE_TYPE = LeaveGroupResponse3
    SCHEMA = Schema(("group", TEXT), ("members", Array(("member", TEXT), ("instance", TEXT))))


class LeaveGroupRequest(Request[LeaveGroupRequest3]):
    """The member goes."""

    API_KEY = 13

    def __init__(self, group: str, member: str, instance: str) -> None:
        self._fields = (group, [(member, instance)])

    def build(self, struct: type[LeaveGroupRequest3]) -> LeaveGroupRequest3:
        """As it is."""
        return struct(*self._fields)


class OffsetCommitResponse7(Response):
    """An error code a partition."""

    API_KEY: ClassVar[int] = 8
    API_VERSION: ClassVar[int] = 7
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("topics", Array(("topic", TEXT), ("partitions", Array(("partition", Int32), ("error_code", Int16))))),
    )


class OffsetCommitRequest7(RequestStruct):
    """Version 7 names the instance."""

    API_KEY = 8
    API_VERSION = 7
    RESPONSE_TYPE = OffsetCommitResponse7
    SCHEMA = Schema(
        ("group", TEXT),
        ("generation", Int32),
        ("member", TEXT),
        ("instance", TEXT),
        (
            "topics",
            Array(
                ("topic", TEXT),
                (
                    "partitions",
                    Array(("partition", Int32), ("offset", Int64), ("leader_epoch", Int32), ("metadata", TEXT)),
                ),
            ),
        ),
    )


class OffsetCommitRequest(Request[OffsetCommitRequest7]):
    """Positions (topic, partition, offset) of a member, or of nobody (generation -1) while there are no members."""

    API_KEY = 8

    def __init__(self, group: str, who: tuple[int, str, str | None], positions: Sequence[tuple[str, int, int]]) -> None:
        """`who` is generation, member, instance."""
        self._group, self._who, self._positions = group, who, positions

    def build(self, struct: type[OffsetCommitRequest7]) -> OffsetCommitRequest7:
        """Group the positions by topic."""
        topics: dict[str, list[tuple[int, int, int, str]]] = {}
        for topic, partition, offset in self._positions:
            topics.setdefault(topic, []).append((partition, offset, -1, ""))
        return struct(self._group, *self._who, list(topics.items()))
