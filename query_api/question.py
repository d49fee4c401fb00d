"""The records of a question: what a key may see, what was asked, what is answered. No I/O and no rules here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from schemas.event import SiteId

Operator = Literal["==", "!=", "=^", "=~", "!~", "=*"]
Format = Literal["json", "csv", "ndjson", "parquet"]
CompareKind = Literal["previous", "year"]
Value = str | int | float | None
Row = dict[str, Value | dict[str, Value]]


@dataclass(frozen=True, slots=True)
class SiteView:
    """A site as a question sees it; `timezone` is its IANA zone."""

    id: SiteId
    domain: str
    timezone: str


@dataclass(frozen=True, slots=True)
class Access:
    """What a key may see: the sites of its project (of the sandbox, or the live ones). Nothing else can be asked of."""

    sites: tuple[SiteView, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """One query endpoint's answer: the dimensions and measures of a row, the parameters it takes, where it is cut.

    `limit` is the default number of rows; 0 is a report that is never cut. Lists are ranked by the first measure.
    """

    name: str
    dimensions: tuple[str, ...]
    measures: tuple[str, ...]
    parameters: tuple[str, ...]
    limit: int = 0


@dataclass(frozen=True, slots=True)
class Range:
    """`start` included, `end` excluded; UTC, whole milliseconds."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Condition:
    """One filter: the dimension meets the operator for any (positive) or for none (negative) of the values."""

    dimension: str
    operator: Operator
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Compare:
    """The range that every figure is compared with, and how it was found."""

    kind: CompareKind
    range: Range


@dataclass(frozen=True, slots=True)
class Question:
    """A question with everything resolved: the same question gives the same figures whenever it is asked.

    `after` holds the ranking measure and the dimensions of the last row of the page before, or nothing.
    """

    report: Report
    range: Range
    timezone: str
    sites: tuple[SiteView, ...]
    conditions: tuple[Condition, ...] = ()
    compare: Compare | None = None
    interval: str = ""
    dimensions: tuple[str, ...] = ()
    limit: int = 0
    include_bots: bool = False
    after: tuple[str | int, ...] = ()
    format: Format | None = None
    asked: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows (columns in the order of `columns`) and what the caller must know of them."""

    columns: tuple[str, ...]
    rows: list[Row]
    meta: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a question: the parameter and a sentence for whoever asked."""

    field: str
    message: str


class InvalidQuestionError(Exception):
    """The question cannot be asked; `problems` names everything that is wrong, in order."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        """Keep the problems; the text is all their messages."""
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = problems
