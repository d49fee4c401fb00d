"""Lines that could not become rows: where they stand and why, and how they get another try.

A dead letter's row never holds the line (it contains the address). The bytes stay in the log's own `DEAD` partition
until its retention ends, one record each. A retry appends them to the log again as they are, receipt time and id kept;
the consumer marks the letter as retried when it lands that block, and drops a second retry of the same letter.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from ingest.log import DEAD, LogDamagedError
from schemas.event import BlockHeaders

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ingest.block_lines import BadLine, Position
    from ingest.log import EventLog, Record
    from schemas.warehouse.client import Warehouse
    from schemas.warehouse.fence import Fence

APPENDS_AT_ONCE = 500
SCHEMA = pa.schema(
    [
        ("site_id", pa.uint32()),
        ("hour", pa.uint32()),
        ("_log", pa.uint16()),
        ("_partition", pa.uint16()),
        ("_offset", pa.uint64()),
        ("_place", pa.uint32()),
        ("reason", pa.string()),
        ("dead_offset", pa.uint64()),
        ("retried", pa.bool_()),
        ("retry_partition", pa.uint16()),
        ("retry_offset", pa.uint64()),
        ("version", pa.uint32()),
    ]
)
COLUMNS = ", ".join(SCHEMA.names)
LISTED = f"""
SELECT {COLUMNS} FROM dead_letters FINAL
WHERE _log = {{log:UInt16}} ORDER BY hour, _partition, _offset, _place LIMIT {{limit:UInt32}}
"""  # noqa: S608 - columns of this module
AT_POSITIONS = f"""
SELECT {COLUMNS} FROM dead_letters FINAL
WHERE _log = {{log:UInt16}} AND _partition IN {{partitions:Array(UInt16)}} AND _offset IN {{offsets:Array(UInt64)}}
"""  # noqa: S608 - columns of this module
RETRY_LOST = "its bytes are gone from the log: its retention has ended"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A row of `dead_letters`; `hour` of receipt in epoch seconds."""

    site_id: int
    hour: int
    log: int
    partition: int
    offset: int
    place: int
    reason: str
    dead_offset: int
    retried: bool
    retry_partition: int
    retry_offset: int
    version: int

    @property
    def position(self) -> Position:
        """Partition, offset, place of the line."""
        return self.partition, self.offset, self.place


class DeadLetterGoneError(LookupError):
    """There is no such dead letter, or its line is no longer in the log."""


class DeadLetters:
    """The dead letters of one log."""

    def __init__(self, warehouse: Warehouse, log: EventLog, number: int) -> None:
        self._warehouse = warehouse
        self._log = log
        self._number = number

    async def list(self, limit: int = 100) -> Sequence[DeadLetter]:
        """Give the oldest dead letters, retried ones too."""
        return await self._read(LISTED, {"log": self._number, "limit": limit})

    async def find(self, positions: Iterable[Position]) -> Mapping[Position, DeadLetter]:
        """Give the dead letters that stand at these positions."""
        wanted = set(positions)
        parameters = {
            "log": self._number,
            "partitions": sorted({partition for partition, _, _ in wanted}),
            "offsets": sorted({offset for _, offset, _ in wanted}),
        }
        letters = await self._read(AT_POSITIONS, parameters) if wanted else []
        return {letter.position: letter for letter in letters if letter.position in wanted}

    async def read_line(self, position: Position) -> bytes:
        """Give the line as it was in its block; it holds the address. Raise DeadLetterGoneError."""
        letter = (await self.find([position])).get(position)
        if letter is None:
            message = "no dead letter at partition {}, offset {}, place {}".format(*position)
            raise DeadLetterGoneError(message)
        return (await self._read_record(letter)).body.removesuffix(b"\n")

    async def retry(self, position: Position) -> None:
        """Append the line to the log again; return when that is durable. Raise DeadLetterGoneError."""
        line = await self.read_line(position)
        letter = (await self.find([position]))[position]
        hour = letter.hour * 1000
        headers = BlockHeaders(1, hour, hour, (), retry_of=position)
        await self._log.append(letter.partition, headers, line + b"\n")

    async def write(self, lines: Sequence[BadLine], fence: Fence | None = None) -> None:
        """Append each line to the `DEAD` partition, then write its row. The rows must not be there yet."""
        offsets: list[int] = []
        for start in range(0, len(lines), APPENDS_AT_ONCE):
            offsets += await asyncio.gather(*map(self._append, lines[start : start + APPENDS_AT_ONCE]))
        rows = [
            (line.site_id, line.hour, self._number, *line.position, line.reason, offset, False, 0, 0, 1)
            for line, offset in zip(lines, offsets, strict=True)
        ]
        await self._insert(rows, fence)

    async def mark_retried(self, retried: Iterable[tuple[DeadLetter, Record]], fence: Fence | None = None) -> None:
        """Write that each letter was retried by its block, which has landed."""
        rows = [
            (
                *(letter.site_id, letter.hour, self._number, *letter.position, letter.reason),
                *(letter.dead_offset, True, block.partition, block.position, letter.version + 1),
            )
            for letter, block in retried
        ]
        await self._insert(rows, fence)

    async def _append(self, line: BadLine) -> int:
        received = line.hour * 1000
        return await self._log.append(DEAD, BlockHeaders(1, received, received, ()), line.text + b"\n")

    async def _insert(self, rows: Sequence[tuple[int | str, ...]], fence: Fence | None) -> None:
        columns = list(zip(*rows, strict=True)) or [()] * len(SCHEMA)
        table = pa.table(list(map(pa.array, columns)), SCHEMA.names).cast(SCHEMA)
        await self._warehouse.insert("dead_letters", table, fence)

    async def _read_record(self, letter: DeadLetter) -> Record:
        bounds = await self._log.bounds(DEAD)
        if not bounds.begin <= letter.dead_offset < bounds.end:
            raise DeadLetterGoneError(RETRY_LOST)
        try:
            return (await self._log.read(DEAD, letter.dead_offset, 1))[0]
        except LogDamagedError as error:
            raise DeadLetterGoneError(RETRY_LOST) from error

    async def _read(self, sql: str, parameters: Mapping[str, object]) -> Sequence[DeadLetter]:
        rows = (await self._warehouse.query(sql, parameters)).to_pylist()
        return [DeadLetter(*row.values()) for row in rows]
