"""How far a log has been consumed, and since when the oldest event that is not waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.log import LogDamagedError

if TYPE_CHECKING:
    from ingest.log import EventLog
    from ingest.progress import Positions


class Unconsumed:
    """The consumed position of partitions: everything before it is in the warehouse."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._first_received: dict[tuple[int, int], int] = {}
        self.positions: Positions = {}

    async def oldest(self, now: int) -> int:
        """Receipt time (epoch ms) of the oldest record that is not consumed; `now`, taken before the call, if all are.

        Raise LogUnavailableError, LogDamagedError.
        """
        return await self.oldest_from(self.positions, now)

    async def oldest_from(self, positions: Positions, now: int) -> int:
        """The same for positions that somebody else knows; what the log has dropped was consumed meanwhile.

        Raise LogUnavailableError, LogDamagedError.
        """
        found = now
        for partition, position in positions.items():
            try:
                first = await self._find_first(partition, position, now)
            except LogDamagedError:  # dropped after the bounds were read: at most once a second
                first = await self._find_first(partition, position, now)
            found = min(found, first)
        return found

    async def oldest_of_all(self, now: int) -> int:
        """The same over every partition of the log, those that others consume by what they have committed.

        Raise LogUnavailableError, LogDamagedError.
        """
        committed = await self._log.committed()
        others = {partition: committed[partition] for partition in range(self._log.partitions)}
        return await self.oldest_from(others | dict(self.positions), now)

    async def let_go(self) -> None:
        """Tell the log that it may drop what is consumed; raise LogUnavailableError."""
        for partition, position in self.positions.items():
            await self._log.trim(partition, position)

    async def _find_first(self, partition: int, position: int, now: int) -> int:
        bounds = await self._log.bounds(partition)
        first = max(position, bounds.begin)
        return await self._read_first_received(partition, first, now) if first < bounds.end else now

    async def _read_first_received(self, partition: int, position: int, now: int) -> int:
        here = (partition, position)
        if here not in self._first_received:
            records = await self._log.read(partition, position, 1)
            if not records:  # a topic may count positions that hold nothing
                return now
            self._first_received = {
                place: received for place, received in self._first_received.items() if place[0] != partition
            }
            self._first_received[here] = records[0].headers.first_received
        return self._first_received[here]
