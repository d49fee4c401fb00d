"""What a topic must be like to hold blocks, and what would lose events or keep addresses too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingest.log.kafka_url import KafkaPlace

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
LONGEST_MS = 7 * DAY_MS  # that an address may stay anywhere
RETENTION_MS = 6 * DAY_MS
SEGMENT_MS = 6 * HOUR_MS
# A block of 256 KiB and its headers, with room for a line that is alone too long for one. Kafka's own limit of a batch
# is a little above it, so that a topic with that default is large enough.
RECORD_BYTES = 1_000_000
MESSAGE_BYTES = 1_048_588
PARTITIONS = 12
SAFE_REPLICATION = 3

NAMES = (
    "cleanup.policy",
    "retention.ms",
    "segment.ms",
    "retention.bytes",
    "max.message.bytes",
    "min.insync.replicas",
    "message.timestamp.type",
    "unclean.leader.election.enable",
)


def to_settings(min_insync: int) -> Mapping[str, str]:
    """The settings of a new topic."""
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(RETENTION_MS),
        "segment.ms": str(SEGMENT_MS),
        "retention.bytes": "-1",
        "max.message.bytes": str(MESSAGE_BYTES),
        "min.insync.replicas": str(min_insync),
        "message.timestamp.type": "LogAppendTime",
        "unclean.leader.election.enable": "false",
    }


def to_replication(place: KafkaPlace, brokers: int) -> tuple[int, int]:
    """Replicas of a new topic, and how many must have a block before it counts."""
    replication = place.replication or min(SAFE_REPLICATION, brokers)
    return replication, place.min_insync or (2 if replication >= SAFE_REPLICATION else 1)


def find_dangers(settings: Mapping[str, str], replication: int) -> Sequence[str]:
    """What of a topic's settings would lose acknowledged events or keep addresses past their time; each with a remedy.

    A setting that is missing is taken for dangerous.
    """
    return [*_find_losses(settings, replication), *_find_keeping(settings)]


def find_differences(place: KafkaPlace, settings: Mapping[str, str], replication: int) -> Sequence[str]:
    """What the URL asks for and the topic has less of."""
    found = []
    if place.replication is not None and replication < place.replication:
        found.append(f"it has {replication} replicas, the URL asks for {place.replication}")
    min_insync = _to_number(settings, "min.insync.replicas")
    if place.min_insync is not None and min_insync < place.min_insync:
        found.append(f"min.insync.replicas is {min_insync}, the URL asks for {place.min_insync}")
    return found


def _find_losses(settings: Mapping[str, str], replication: int) -> Sequence[str]:
    min_insync = _to_number(settings, "min.insync.replicas")
    found = []
    if replication >= SAFE_REPLICATION and min_insync < 2:  # noqa: PLR2004 - two copies
        found.append("min.insync.replicas is 1 with 3 replicas: one broker's loss may lose acknowledged events; set 2")
    if min_insync > replication:
        found.append(f"min.insync.replicas is {min_insync} with {replication} replicas: no block could ever be taken")
    if settings.get("cleanup.policy") != "delete":
        found.append(f"cleanup.policy is {settings.get('cleanup.policy')}: compaction deletes blocks; set delete")
    if settings.get("retention.bytes") != "-1":
        found.append("retention.bytes is set: blocks would be deleted before they are consumed; set -1")
    if settings.get("unclean.leader.election.enable") != "false":
        found.append("unclean.leader.election.enable is on: a new leader may lack acknowledged events; set false")
    if _to_number(settings, "max.message.bytes") < MESSAGE_BYTES:
        found.append(f"max.message.bytes is too small for a block; set {MESSAGE_BYTES}")
    return found


def _find_keeping(settings: Mapping[str, str]) -> Sequence[str]:
    retention, segment = _to_number(settings, "retention.ms"), _to_number(settings, "segment.ms")
    found = []
    if 0 <= retention < DAY_MS:
        found.append(f"retention.ms is under a day: blocks would go before they are consumed; set {RETENTION_MS}")
    elif retention < 0 or retention > LONGEST_MS:
        found.append(f"retention.ms keeps addresses for more than 7 days; set {RETENTION_MS}")
    elif retention + segment > LONGEST_MS:
        found.append(
            "retention.ms and segment.ms together are more than 7 days, and a block goes only with the whole of its "
            f"segment: addresses would stay too long; set segment.ms to {SEGMENT_MS}"
        )
    if settings.get("message.timestamp.type") != "LogAppendTime":
        found.append(
            "message.timestamp.type is not LogAppendTime: the clock of a collector would decide when blocks are deleted"
        )
    return found


def _to_number(settings: Mapping[str, str], name: str) -> int:
    try:
        return int(settings[name])
    except (KeyError, ValueError):
        return -1
