"""The event log: what makes an acknowledged event survive.

A log has `partitions` numbered from 0, and beside them one partition `DEAD` for lines that could not be read. A record
is one block. A **position** is the next record to read: an empty partition stands at 0, after `append` returned
position 7 the end is 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence

    from schemas.event import BlockHeaders

DEAD = 65535


class LogUnavailableError(Exception):
    """The log cannot take a block now (disk budget, full disk, broker gone); say 503 and come back later."""


class ShareLostError(Exception):
    """The partitions of a share belong to somebody else by now; nothing more may be written for them."""


class LogDamagedError(Exception):
    """The log is not what the marks say it is (restored, truncated, foreign); a person must decide."""


@dataclass(frozen=True, slots=True)
class Record:
    """One block of the log and where it stands."""

    partition: int
    position: int
    headers: BlockHeaders
    body: bytes


@dataclass(frozen=True, slots=True)
class Bounds:
    """The positions that a partition holds: `begin` is the first that can be read, `end` the next to be written."""

    begin: int
    end: int


class Share(Protocol):
    """Partitions of a log that one consumer has for now; no other has any of them, as far as the log can tell."""

    @property
    def partitions(self) -> Sequence[int]:
        """Which, in ascending order; may be none."""

    @property
    def ended(self) -> asyncio.Event:
        """Set when others wait for the partitions: finish what is under way, commit, release."""

    async def commit(self, positions: Mapping[int, int]) -> None:
        """Remember how far the partitions have been consumed, if they are still this consumer's.

        Raise ShareLostError if they are not, LogUnavailableError if that cannot be told now.
        """

    def release(self) -> None:
        """Everything under way has ended; others may have the partitions. Call it once, also after ShareLostError."""


class Group(Protocol):
    """Membership of one consumer in the group that consumes a log."""

    async def next_share(self) -> Share:
        """Wait until partitions (or none) are given to this consumer; the share before must have been released.

        Raise LogUnavailableError.
        """

    async def leave(self) -> None:
        """Let the others know; a share that was not released is theirs soon."""


class EventLog(Protocol):
    """An ordered, durable list of blocks per partition. Every method may raise LogUnavailableError."""

    @property
    def identity(self) -> str:
        """A text that is this log's alone: a restored file or a new topic has another one."""

    @property
    def partitions(self) -> int:
        """How many ordinary partitions there are; fixed for the life of the log."""

    async def append(self, partition: int, headers: BlockHeaders, body: bytes) -> int:
        """Return the block's position once it would survive a power cut."""

    async def read(self, partition: int, position: int, max_bytes: int) -> Sequence[Record]:
        """Give the records from `position` on, in order, up to `max_bytes` of bodies but at least one if there is one.

        Raise LogDamagedError when `position` lies outside the partition's bounds.
        """

    async def read_headers(self, partition: int, position: int) -> Sequence[tuple[int, BlockHeaders]]:
        """Give (position, headers) of every record from `position` on, without the bodies."""

    async def wait(self, positions: Mapping[int, int], seconds: float) -> bool:
        """Return True as soon as a partition holds a record at or after its position, False after `seconds`."""

    async def bounds(self, partition: int) -> Bounds:
        """Where the partition begins and ends now."""

    async def join(self, member: str) -> Group:
        """Join those who consume the log; `member` is this consumer's own name, the same after a restart."""

    async def commit(self, positions: Mapping[int, int]) -> None:
        """Remember how far each partition has been consumed (the next position to read); only while nobody consumes."""

    async def committed(self) -> Mapping[int, int]:
        """What `commit` last remembered, for every partition; 0 where it never did."""

    async def trim(self, partition: int, position: int) -> None:
        """Let go of the records before `position`; they may stay a while, they are never needed again."""

    async def ping(self) -> None:
        """Return if the log could take a block now, else raise LogUnavailableError with the reason."""

    async def close(self) -> None:
        """Finish what is under way and let go of every resource."""
