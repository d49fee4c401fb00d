"""`pulse key`: what opens the query API and lets servers send events."""

from __future__ import annotations

import re
from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.control import control_of
from deploy.terminal import AsJson, CommandError, Speaker, read_settings, run
from query_api.control.keys import Key, KeyDraft, NewKey, create_key, list_keys, revoke_key, rotate_key

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(no_args_is_help=True, help="Keys of the project: read answers, send as a server")

UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
Wanted = Annotated[int, typer.Argument(metavar="ID", help="Id of the key, see `pulse key list`")]


def to_duration(text: str) -> timedelta:
    """`12h`, `30d` or `2w`."""
    match = re.fullmatch(r"(\d{1,5})([hdw])", text)
    if match is None:
        message = f"{text!r} is no duration: write for example 12h, 30d or 2w"
        raise CommandError(message)
    return int(match[1]) * UNITS[match[2]]


def to_expiry(text: str, now: datetime) -> datetime | None:
    """An instant: a duration from now, a date (its end in UTC), or ISO 8601; empty is never."""
    if not text:
        return None
    if text[-1] in UNITS and text[:-1].isdigit():
        return now + to_duration(text)
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            return datetime.combine(date.fromisoformat(text) + timedelta(days=1), time(), UTC)
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        message = f"--expires {text!r}: write a duration (30d), a date (2027-01-31) or an instant in ISO 8601"
        raise CommandError(message) from error
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def to_result(key: Key) -> dict[str, object]:
    """A key as commands show it."""
    return {name: value for name, value in asdict(key).items() if name != "project_id"}


def show_new(made: NewKey, *, as_json: bool) -> None:
    """Show a key with its secret, this once."""
    text = f"{made.text}\nid {made.key.id}, scopes {', '.join(made.key.scopes)}. It is not shown again."
    Speaker(as_json).show(to_result(made.key) | {"key": made.text}, text)


@app.command()
def create(
    name: Annotated[str, typer.Option(help="What it is for")] = "API key",
    scope: Annotated[list[str] | None, typer.Option(help="read or ingest; may be repeated; default read")] = None,
    expires: Annotated[str, typer.Option(help="Duration (30d), date or instant; default never")] = "",
    *,
    test: Annotated[bool, typer.Option("--test", help="See the sandbox instead of live data")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a key and show it this once."""

    async def work() -> NewKey:
        async with control_of(read_settings()) as control:
            ends = to_expiry(expires, control.now)
            draft = KeyDraft(name, tuple(dict.fromkeys(scope or ["read"])), test, ends)
            return await create_key(control.engine, control.project.id, draft, control.now)

    show_new(run(work()), as_json=as_json)


@app.command("list")
def list_all(*, as_json: AsJson = False) -> None:
    """List the keys, ended ones too; their secrets cannot be shown."""

    async def work() -> Sequence[Key]:
        async with control_of(read_settings()) as control:
            return await list_keys(control.engine, control.project.id)

    Speaker(as_json).show_rows("keys", [to_result(key) for key in run(work())])


@app.command()
def revoke(key: Wanted, *, as_json: AsJson = False) -> None:
    """End a key at once."""

    async def work() -> Key:
        async with control_of(read_settings()) as control:
            return await revoke_key(control.engine, control.project.id, key, control.now)

    Speaker(as_json).show(to_result(run(work())), f"key {key} is revoked")


@app.command()
def rotate(
    key: Wanted,
    overlap: Annotated[str, typer.Option(help="How long the old key goes on: 12h, 7d")] = "24h",
    *,
    as_json: AsJson = False,
) -> None:
    """Make a new key that may do the same; the old one ends after the overlap."""

    async def work() -> NewKey:
        async with control_of(read_settings()) as control:
            span = to_duration(overlap)
            return await rotate_key(control.engine, control.project.id, key, span, control.now)

    show_new(run(work()), as_json=as_json)
