"""Asks for a recount piece by piece and puts the answers together: what closes, and what does not and where."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Protocol, TypedDict, cast

from ingest.problems import Problem, add_up

if TYPE_CHECKING:
    from deploy.asking import Ask, Result

Rows = list[dict[str, object]]


class Part(TypedDict):
    """Positions of a log partition, from `begin` to before `end`."""

    partition: int
    begin: int
    end: int


class Plan(TypedDict):
    """What there is to recount: hours of receipt (epoch seconds), in days; what the log holds."""

    start: int
    end: int
    days: list[tuple[int, int]]
    log: list[Part]


class Shown(Protocol):
    """Told of `done` of `total` pieces of one kind."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show it."""


@dataclass(slots=True)
class Recount:
    """What was found. `open` are the sites and hours whose two sides differ."""

    open: Rows = field(default_factory=list)
    doubled: Rows = field(default_factory=list)
    torn: Rows = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    days: int = 0
    blocks: int = 0
    lines: int = 0

    @property
    def closes(self) -> bool:
        """Whether every count is right and every row where it belongs."""
        return not (self.open or self.doubled or self.torn or self.problems)

    def to_result(self) -> Result:
        """For machines."""
        problems = [asdict(problem) for problem in self.problems]
        return asdict(self) | {"problems": problems, "closed": self.closes}


async def read_plan(ask: Ask, start: str, end: str) -> Plan:
    """Both ISO 8601; empty is without end."""
    return cast("Plan", await ask("ledger-plan", {"start": start, "end": end}))


async def recount_days(ask: Ask, plan: Plan, recount: Recount, shown: Shown) -> None:
    """From the warehouse alone: does every hour close, is every row there once and in one table."""
    for done, (start, end) in enumerate(plan["days"]):
        shown("days of receipt", done, len(plan["days"]))
        found = await ask("ledger-hours", {"start": str(start), "end": str(end)})
        recount.open += cast("Rows", found["open"])
        recount.doubled += cast("Rows", found["doubled"])
        recount.torn += cast("Rows", found["torn"])
        recount.days += 1


async def recount_log(ask: Ask, plan: Plan, recount: Recount, shown: Shown) -> None:
    """From the log, as far back as it reaches: is every line somewhere, and nothing where there is no line."""
    problems: list[Problem] = []
    total = sum(part["end"] - part["begin"] for part in plan["log"])
    done = 0
    for part in plan["log"]:
        position: int | None = part["begin"] if part["begin"] < part["end"] else None
        while position is not None:
            shown("blocks of the log", done + position - part["begin"], total)
            arguments = {"partition": part["partition"], "position": position, "until": part["end"]}
            arguments |= {"start": plan["start"], "end": plan["end"]}
            piece = await ask("ledger-log", {name: str(value) for name, value in arguments.items()})
            recount.blocks += cast("int", piece["blocks"])
            recount.lines += cast("int", piece["lines"])
            problems += [Problem(**row) for row in cast("list[ProblemRow]", piece["problems"])]
            position = cast("int | None", piece["next"])
        done += part["end"] - part["begin"]
    recount.problems = add_up(problems)


class ProblemRow(TypedDict):
    """A Problem in JSON."""

    kind: str
    records: int
    examples: list[str]
    site_id: int
    hour: int
    erased: int
