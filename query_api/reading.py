"""Reads query parameters one by one and goes on at a problem, so that all of them are told at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from query_api.filters import suggest
from query_api.parameters import PARAMETERS
from query_api.question import InvalidQuestionError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
Choice = TypeVar("Choice", bound=str)


class Reading:
    """The parameters of one question, and the problems found so far."""

    def __init__(self, known: Sequence[str], query: Sequence[tuple[str, str]]) -> None:
        """Note what is unknown, given twice, or no text at all."""
        self.query = tuple(query)
        self.required = frozenset(known)
        self.values: dict[str, list[str]] = {}
        self.problems: list[Problem] = []
        for name, value in query:
            if not _is_text(name + value):
                self.refuse(ascii(name), f"{name!a}: is not valid text")
            elif name not in known:
                self.refuse(name, tell_unknown(name, known))
            else:
                self.values.setdefault(name, []).append(value)
        for name, values in self.values.items():
            if len(values) > 1 and PARAMETERS[name].multiple == "once":
                self.refuse(name, f"{name}: given {len(values)} times")

    def get(self, name: str) -> str:
        """The value, or empty."""
        return self.values.get(name, [""])[0]

    def refuse(self, name: str, message: str) -> None:
        """Note a problem and go on."""
        self.problems.append(Problem(name, message))

    def read(self, name: str, to: Callable[[str], T], default: T) -> T:
        """The value by `to`, whose ValueError becomes a problem; the default for an absent or a wrong one."""
        text = self.get(name)
        if not text:
            return default
        try:
            return to(text)
        except ValueError as error:
            self.refuse(name, f"{name}: {error}")
            return default

    def choose(self, name: str, choices: Sequence[Choice]) -> Choice | None:
        """The choice that was made, or None without or with a wrong one."""
        text = self.get(name)
        found = next((choice for choice in choices if choice == text), None)
        if text and found is None:
            self.refuse(name, f"{name}: {text!r} is none of {', '.join(choices)}{suggest(text, tuple(choices))}")
        return found

    def to_error(self) -> InvalidQuestionError:
        """All problems as one error."""
        return InvalidQuestionError(tuple(self.problems))


def tell_unknown(name: str, known: Sequence[str]) -> str:
    """What to say of a parameter that there is not: the nearest name, or all where none is near."""
    return f"unknown parameter {name!r}{suggest(name, tuple(known)) or '; there are ' + ', '.join(known)}"


def _is_text(value: str) -> bool:
    """Whether it can be written as UTF-8: a lone surrogate cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
