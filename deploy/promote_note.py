"""What a data folder remembers of a promotion: the work under way, and the note that its consumer has gone elsewhere.

The note `promoted.json` is the turning point. It is written while no batch lands, by whoever has the old warehouse
open, once everything that it holds is in the new one. From then on nothing consumes into the old warehouse, whoever
starts it: its collectors go on, its reports stand still. The rest of the log is consumed into the new warehouse.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from deploy.backup_files import sync_folder
from deploy.terminal import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

FOLDER, NOTE, WORK = "promote", "promoted.json", "promote"


@dataclass(frozen=True, slots=True)
class Places:
    """Where an installation goes: URLs without passwords. An empty `log` stays where it is."""

    warehouse: str
    control: str
    log: str
    limits: str


@dataclass(frozen=True, slots=True)
class Work:
    """A promotion, by its own random id; `places` are where it goes."""

    id: str
    places: Places


@dataclass(frozen=True, slots=True)
class Note:
    """The old warehouse is no longer consumed into. `positions` by partition are where the new one went on."""

    id: str
    warehouse: str  # the old one
    number: int  # of the log
    positions: Sequence[int]
    places: Places
    handed_over: str
    done: str = ""


def work_folder(data: Path) -> Path:
    """The folder of the work under way, for its owner alone."""
    folder = data / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def read_work(data: Path) -> Work | None:
    """The promotion that was begun, None without one."""
    found = read_json(data / FOLDER / "work.json")
    return None if found is None else Work(str(found["id"]), to_places(found["places"]))


def write_work(data: Path, work: Work) -> None:
    """Remember it."""
    write_json(work_folder(data) / "work.json", dataclasses.asdict(work))


def read_note(data: Path) -> Note | None:
    """The note, None where the folder was not handed over."""
    found = read_json(data / NOTE)
    return None if found is None else Note(**{**found, "places": to_places(found["places"])})  # type: ignore[arg-type]


def write_note(data: Path, note: Note) -> None:
    """Write it; durable when it returns."""
    write_json(data / NOTE, dataclasses.asdict(note))


def read_json(path: Path) -> Mapping[str, object] | None:
    """A file of JSON, None where there is none; raise CommandError where it cannot be read."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        found: dict[str, object] = orjson.loads(content)
    except ValueError as error:
        message = f"{path} cannot be read: {error}"
        raise CommandError(message) from error
    return found


def write_json(path: Path, value: object) -> None:
    """Write a file of JSON for its owner alone; whole, and durable when it returns."""
    partial = path.with_name(path.name + ".partial")
    with os.fdopen(os.open(partial, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
        file.write(orjson.dumps(value))
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    sync_folder(path.parent)


def to_places(value: object) -> Places:
    """From JSON."""
    if not isinstance(value, dict):
        message = f"{NOTE} does not say where the installation went"
        raise CommandError(message)
    return Places(**value)


def refuse_promoted(data: Path, warehouse: str) -> Note | None:
    """The note if this warehouse must not be consumed into; raise CommandError where nothing of it is in use any more.

    Other settings on the same folder are no business of the note.
    """
    note = read_note(data)
    if note is None or note.warehouse != warehouse:
        return None
    if note.done:
        message = (
            f"this installation was promoted to {note.places.warehouse} on {note.done}: start Pulse with its settings "
            f"({data / NOTE} says where everything is)"
        )
        raise CommandError(message)
    return note
