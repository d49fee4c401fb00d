"""Rows as text for people: a table, or a line a field where a table would be wider than the terminal."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import zip_longest
from typing import TYPE_CHECKING

from rich.cells import cell_len

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Rows = Sequence[Mapping[str, object]]

GAP = " "
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*")


def to_lines(rows: Rows, width: int | None) -> list[str]:
    """A table under its names, which are parted at underscores where it is wider than `width` (None is endless).

    Where that is not enough: a block of lines a row. The rows have the same names. Nothing is ever cut.
    """
    for heads in ([[name] for name in rows[0]], [name.split("_") for name in rows[0]]):
        table = to_table(heads, rows)
        if width is None or max(map(cell_len, table)) <= width:
            return table
    return to_blocks(rows)


def to_table(heads: Sequence[list[str]], rows: Rows) -> list[str]:
    """Columns as wide as their widest line, numbers to the right; `heads` are the lines above each."""
    deepest = max(map(len, heads))
    columns = []
    for head, name in zip(heads, rows[0], strict=True):
        cells = [[""] * (deepest - len(head)) + head, *(to_cell(row[name]).split("\n") for row in rows)]
        wide = max(cell_len(line) for lines in cells for line in lines)
        right = all(isinstance(row[name], int) and not isinstance(row[name], bool) for row in rows)
        columns.append([[_pad(line, wide, right=right) for line in lines] for lines in cells])
    return [line for cells in zip(*columns, strict=True) for line in _beside(cells)]


def to_blocks(rows: Rows) -> list[str]:
    """A line a field that holds anything, an empty line between the rows."""
    lines: list[str] = []
    for row in rows:
        filled = [(name, cell) for name, value in row.items() if (cell := to_cell(value))]
        lines += [f"{name}: {cell.replace(chr(10), ', ')}" for name, cell in filled] + [""]
    return lines[:-1]


def to_cell(value: object) -> str:
    """The text of a value: an instant in UTC to its minute, what was counted by name as a line a name."""
    if isinstance(value, str) and INSTANT.fullmatch(value):
        value = datetime.fromisoformat(value)
    match value:
        case None:
            return ""
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%d %H:%MZ")
        case dict():
            return "\n".join(f"{name}: {count}" for name, count in value.items())
        case list() | tuple():
            return ", ".join(map(str, value))
    return " ".join(str(value).split())


def _pad(text: str, width: int, *, right: bool) -> str:
    space = " " * (width - cell_len(text))
    return space + text if right else text + space


def _beside(cells: Sequence[Sequence[str]]) -> list[str]:
    """The lines of cells that stand side by side; those with fewer lines end earlier."""
    widths = [cell_len(lines[0]) for lines in cells]
    deep = zip_longest(*cells)
    return [GAP.join(part or " " * wide for part, wide in zip(parts, widths, strict=True)).rstrip() for parts in deep]
