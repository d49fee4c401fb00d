# mypy: disable-error-code="import-untyped"
"""What a broker's refusals mean: which pass, which come of old knowledge, which end a membership."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from aiokafka.errors import KafkaError, for_code

from ingest.log import LogUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

OFFSET_OUT_OF_RANGE = 1
CORRUPT = 2
UNKNOWN_TOPIC = 3
TOO_LARGE = 10
TOPIC_DENIED = 29
GROUP_DENIED = 30
CLUSTER_DENIED = 31
ILLEGAL_GENERATION = 22
UNKNOWN_MEMBER = 25
REBALANCING = 27
TOPIC_EXISTS = 36
INVALID_REPLICATION = 38
DUPLICATE_SEQUENCE = 46
MEMBER_ID_REQUIRED = 79
FENCED_INSTANCE = 82

# https://kafka.apache.org/protocol#protocol_error_codes
STALE = frozenset({3, 5, 6, 9, 41, 56, 74, 75, 76, 100})  # the leader or controller is another one by now
MOVED = frozenset({15, 16})  # the coordinator is
PASSING = STALE | MOVED | {7, 13, 14, 19, 20, 60, 70, 71, 78, 88, 89}
DENIED = frozenset({TOPIC_DENIED, GROUP_DENIED, CLUSTER_DENIED})
LOST = frozenset({ILLEGAL_GENERATION, UNKNOWN_MEMBER, FENCED_INSTANCE})

# Codes that aiokafka 0.14 has no name for.
NAMES = {
    74: "FENCED_LEADER_EPOCH",
    75: "UNKNOWN_LEADER_EPOCH",
    78: "OFFSET_NOT_AVAILABLE",
    81: "GROUP_MAX_SIZE_REACHED",
    FENCED_INSTANCE: "FENCED_INSTANCE_ID",
    88: "UNSTABLE_OFFSET_COMMIT",
    90: "PRODUCER_FENCED",
    100: "UNKNOWN_TOPIC_ID",
}


class BrokerRefusedError(Exception):
    """A broker answered with an error code."""

    def __init__(self, code: int, said: str | None = None) -> None:
        super().__init__(said or to_name(code))
        self.code = code


class RefusedForGoodError(Exception):
    """The brokers are there and will not have us: a password, a certificate, a version."""


class NotReachedError(Exception):
    """No broker could be asked; the message says why."""


# Everything that asking a broker may raise.
TROUBLES = (BrokerRefusedError, RefusedForGoodError, NotReachedError, KafkaError, OSError)


def to_name(code: int) -> str:
    """The protocol's name of an error code."""
    return NAMES.get(code) or str(for_code(code).message)


def check(code: int, said: str | None = None) -> None:
    """Raise BrokerRefusedError unless the code says that all is well."""
    if code:
        raise BrokerRefusedError(code, said)


def may_pass(error: Exception) -> bool:
    """Whether asking again, perhaps somebody else, may help."""
    if isinstance(error, BrokerRefusedError):
        return error.code in PASSING
    return not isinstance(error, RefusedForGoodError)


@contextmanager
def as_log_error(what: str) -> Iterator[None]:
    """Say errors of brokers and of the network as LogUnavailableError; `what` could not be done."""
    try:
        yield
    except TROUBLES as error:
        message = f"{what}: {to_reason(error)}"
        raise LogUnavailableError(message) from error


def to_reason(error: Exception) -> str:
    """A reason that says something also where the error does not."""
    if isinstance(error, BrokerRefusedError) and error.code in DENIED:
        return f"{error}: the user lacks a right (see ingest/log/README.md)"
    return str(error) or type(error).__name__
