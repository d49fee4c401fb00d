"""Files of operators as trees, read without guessing: whoever reaches for what is not there fails."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

import yaml

from deploy.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
SETTINGS = frozenset(f"PULSE_{name.upper()}" for name in Settings.model_fields)


def read_documents(path: Path) -> list[Json]:
    """Every document of a YAML file that holds anything."""
    found = cast("Iterator[Json]", yaml.safe_load_all(path.read_text()))
    return [document for document in found if document is not None]


def read_json(path: Path) -> Json:
    """A JSON file."""
    return cast("Json", json.loads(path.read_text()))


def at(tree: Json, *steps: str | int) -> Json:
    """What lies there; raise KeyError, IndexError or TypeError where nothing does."""
    for step in steps:
        tree = mapping(tree)[step] if isinstance(step, str) else items(tree)[step]
    return tree


def mapping(tree: Json) -> dict[str, Json]:
    """The tree as an object; raise TypeError for anything else."""
    if not isinstance(tree, dict):
        message = f"{tree!r} is no object"
        raise TypeError(message)
    return tree


def items(tree: Json) -> list[Json]:
    """The tree as a list; raise TypeError for anything else."""
    if not isinstance(tree, list):
        message = f"{tree!r} is no list"
        raise TypeError(message)
    return tree


def text(tree: Json) -> str:
    """The tree as text; raise TypeError for anything else."""
    if not isinstance(tree, str):
        message = f"{tree!r} is no text"
        raise TypeError(message)
    return tree


def number(tree: Json) -> int:
    """The tree as a whole number; raise TypeError for anything else."""
    if not isinstance(tree, int) or isinstance(tree, bool):
        message = f"{tree!r} is no whole number"
        raise TypeError(message)
    return tree


def names(tree: Json) -> set[str]:
    """The texts of a list, or the keys of an object."""
    return {text(item) for item in tree} if isinstance(tree, list) else set(mapping(tree))


def find_settings(written: str) -> set[str]:
    """Every PULSE_… that a text names."""
    return set(re.findall(r"\bPULSE_[A-Z_]+[A-Z]\b", written))


def to_settings(given: Mapping[str, Json]) -> Settings:
    """What Pulse makes of these variables; raise ValidationError for what it refuses."""
    return Settings.model_validate({name.removeprefix("PULSE_").lower(): value for name, value in given.items()})


def to_partitions(log_url: str) -> int:
    """How many partitions a log URL asks for."""
    found = re.search(r"[?&]partitions=(\d+)", log_url)
    assert found is not None, log_url
    return int(found[1])
