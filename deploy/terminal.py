"""How commands speak: a table for people, one JSON object with --json, one clear line when they fail."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeVar

import orjson
import typer
from pydantic import ValidationError
from rich.console import Console

from deploy.settings import Settings
from deploy.tables import to_blocks, to_lines

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from pydantic_core import ErrorDetails

T = TypeVar("T")
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, nothing else")]

Cell = str | int | float | bool | None
output = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


class CommandError(Exception):
    """A command cannot do what it was asked to; the message is the one line that the user sees."""

    exit_code = 1


class SettingError(CommandError):
    """What a setting names cannot be used; the message says which and what to do."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Speaker:
    """Prints results in the form that was asked for."""

    as_json: bool

    def show(self, result: Mapping[str, object], text: str = "") -> None:
        """One thing: `text` for people (else a line a field that holds anything), or all of `result` as JSON."""
        if self.as_json:
            print_json(result)
        elif text:
            output.print(text, soft_wrap=True, markup=False)
        else:
            for line in to_blocks([result]):
                output.print(line, soft_wrap=True, markup=False)

    def show_rows(self, name: str, rows: Sequence[Mapping[str, object]]) -> None:
        """A list: a table for people, `{name: rows}` as JSON."""
        if self.as_json:
            print_json({name: rows})
            return
        if not rows:
            output.print(f"no {name}")
            return
        for line in to_lines(rows, output.width if output.is_terminal else None):
            output.print(line, soft_wrap=True, markup=False)


def print_json(result: Mapping[str, object]) -> None:
    """One JSON object and a line end on standard output."""
    sys.stdout.write(orjson.dumps(result, default=str).decode() + "\n")


def read_settings() -> Settings:
    """The settings; raise SettingError with all that is wrong with them at once."""
    try:
        return Settings()
    except ValidationError as error:
        raise SettingError("; ".join(map(to_problem, error.errors()))) from error


def to_problem(item: ErrorDetails) -> str:
    """One wrong setting in words."""
    setting = f"PULSE_{str(item['loc'][0]).upper()}: " if item["loc"] else ""
    return setting + item["msg"].removeprefix("Value error, ")


def run(work: Coroutine[object, object, T]) -> T:
    """Run a command's work; an interrupt ends it with exit code 130."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
