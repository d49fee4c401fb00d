"""Every parameter of a report: what it takes, and its words and JSON schema for the public document."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, get_args

from query_api.buckets import INTERVALS
from query_api.question import CompareKind, Format
from query_api.ranges import PERIODS

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_LIMIT = 1000
DEFAULT_INTERVAL = "1 hour"
Schema = dict[str, str | int | list[str]]
Multiple = Literal["once", "repeated"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One query parameter; `schema` is of one value, `multiple` says whether it may be given more than once."""

    name: str
    schema: Schema
    meaning: str
    example: str = ""
    multiple: Multiple = "once"


def one_of(*values: str) -> Schema:
    """The schema of a closed list."""
    return {"type": "string", "enum": list(values)}


TEXT: Schema = {"type": "string"}

ROWS = (
    Parameter(
        "start", TEXT, "ISO 8601; a bare date is a local day, a time without offset is UTC. Included", "2024-01-01"
    ),
    Parameter(
        "end", TEXT, "ISO 8601; excluded, but a bare date counts wholly and 23:59:59 means midnight", "2024-01-31"
    ),
    Parameter("period", one_of(*PERIODS), "in place of start and end; all but yesterday end now", "7d"),
    Parameter("compare", one_of(*get_args(CompareKind)), "adds the figures of the range before, or a year before"),
    Parameter(
        "timezone",
        TEXT,
        "IANA zone of bare dates and buckets; default the sites' common one, else UTC",
        "Europe/Berlin",
    ),
    Parameter("site", TEXT, "id or domain; may be repeated; default all sites of the project", "", "repeated"),
    Parameter(
        "filters",
        TEXT,
        "JSON array, or conditions parted by ; each a dimension, one of == != =^ =~ !~ =* and values parted by |",
        "country==US;pathname=^/blog/",
    ),
    Parameter("include_bots", one_of("true", "false"), "true counts bots like anybody else"),
    Parameter(
        "limit", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT}, "rows of a list; other answers are never cut"
    ),
    Parameter("cursor", TEXT, "meta.cursor of the page before; alone, or with the parameters it came with"),
    Parameter(
        "format", one_of(*get_args(Format)), "how the answer is written; default by the Accept header, else json"
    ),
    Parameter("interval", one_of(*INTERVALS), f"length of a bucket, default {DEFAULT_INTERVAL!r}", DEFAULT_INTERVAL),
    Parameter("detail", one_of("region", "city"), "city adds the city to each row"),
)

PARAMETERS: Mapping[str, Parameter] = MappingProxyType({parameter.name: parameter for parameter in ROWS})
