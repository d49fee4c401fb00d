"""Long lists as parameters of a question over HTTP.

Parameters travel in the URL, and beyond 4 KiB clickhouse-connect sends them as fields of a form. A server takes
128 KiB in a field (`http_max_field_value_size` of its own profile: no query can raise it), which 6,500 ids fill. A
longer list is sent as several parameters, and the server joins them: nothing of it is ever pasted into SQL.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FIELD_BYTES = 100_000


def split_long_lists(sql: str, parameters: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    """The SQL and its parameters, where no list is longer than a field may be."""
    values: dict[str, object] = {}
    for name, value in parameters.items():
        pieces = list(cut(value)) if isinstance(value, list) else [value]
        if len(pieces) == 1:
            values[name] = value
            continue
        names = [f"{name}__{number}" for number in range(len(pieces))]
        values.update(zip(names, pieces, strict=True))
        sql = re.sub(rf"\{{{name}:([^}}]+)\}}", lambda found, names=names: join(names, found[1]), sql)  # type: ignore[misc]
    return sql, values


def join(names: Sequence[str], kind: str) -> str:
    """SQL for the list whose pieces are these parameters."""
    return f"arrayConcat({', '.join(f'{{{name}:{kind}}}' for name in names)})"


def cut(items: list[object]) -> Iterator[list[object]]:
    """The list in pieces that each fit into a field; an empty list is one piece."""
    piece: list[object] = []
    size = 0
    for item in items:
        length = to_size(item)
        if piece and size + length > FIELD_BYTES:
            yield piece
            piece, size = [], 0
        piece.append(item)
        size += length
    yield piece


def to_size(item: object) -> int:
    """At most so many bytes stand for it in a field: text may be escaped, and four bytes a character."""
    return 8 * len(item) + 3 if isinstance(item, str) else len(str(item)) + 3
