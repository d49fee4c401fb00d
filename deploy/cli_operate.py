"""Commands of whoever runs Pulse: dead letters, the log, the doctor, the public document."""

from __future__ import annotations

import sys
from typing import Annotated, cast

import typer

from deploy.asking import run_admin
from deploy.terminal import AsJson, Speaker, output, print_json, read_settings, run

app = typer.Typer()
dead_letters = typer.Typer(no_args_is_help=True, help="Lines that could not be read: nothing is lost in silence")

Rows = list[dict[str, object]]
Id = Annotated[str, typer.Argument(metavar="ID", help="partition:offset:place, see `pulse dead-letters list`")]
MARKS = {"ok": "green", "warning": "yellow", "broken": "red"}


@app.command()
def doctor(*, as_json: AsJson = False) -> None:
    """Look at configuration, disk, memory limits, parts and versions. Exit code 1 when something is broken."""
    result = run(run_admin(read_settings(), "doctor", {}))
    findings = cast("list[dict[str, str]]", result["findings"])
    if as_json:
        print_json(result)
    for finding in [] if as_json else findings:
        mark = f"[{MARKS[finding['state']]}]{finding['state']:>8}[/]"
        output.print(f"{mark}  {finding['check']}: ", end="")
        output.print(finding["text"], soft_wrap=True, markup=False)
    if any(finding["state"] == "broken" for finding in findings):
        raise typer.Exit(1)


@app.command()
def openapi(*, as_json: AsJson = False) -> None:
    """Print the OpenAPI document of the query API and of collecting: JSON, with or without --json."""
    del as_json
    from query_api.openapi import DOCUMENT  # noqa: PLC0415 - loads every report

    sys.stdout.write(DOCUMENT.decode() + "\n")


@dead_letters.command("list")
def list_dead_letters(
    limit: Annotated[int, typer.Option(help="How many at most, oldest first", min=1)] = 100, *, as_json: AsJson = False
) -> None:
    """List them with the reason why each could not be read."""
    result = run(run_admin(read_settings(), "dead-letters-list", {"limit": str(limit)}))
    Speaker(as_json).show_rows("dead_letters", cast("Rows", result["dead_letters"]))


@dead_letters.command("show")
def show_dead_letter(letter: Id, *, as_json: AsJson = False) -> None:
    """Show the line itself, as long as the log keeps it. It holds the client's address."""
    result = run(run_admin(read_settings(), "dead-letters-show", {"id": letter}))
    Speaker(as_json).show(result, str(result["line"]))


@dead_letters.command("retry")
def retry_dead_letters(
    letter: Annotated[str, typer.Argument(metavar="ID", help="One id, or `all` that were not retried yet")],
    *,
    as_json: AsJson = False,
) -> None:
    """Append lines to the log again, with the receipt time and id that they had."""
    result = run(run_admin(read_settings(), "dead-letters-retry", {"id": letter}, None))
    Speaker(as_json).show(result, f"{result['retried']} appended to the log again")
