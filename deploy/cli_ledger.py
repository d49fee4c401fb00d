"""`pulse ledger`: what became of every record, counted once more when asked, and repaired when asked."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from deploy.asking import asking, run_admin
from deploy.recounting import Recount, read_plan, recount_days, recount_log
from deploy.terminal import AsJson, CommandError, Speaker, errors, output, print_json, read_settings, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.asking import Result
    from deploy.recounting import Rows, Shown

app = typer.Typer(help="What became of every record", invoke_without_command=True)

Start = Annotated[str, typer.Option(help="First instant of receipt, ISO 8601; default a day ago, verifying: all")]
End = Annotated[str, typer.Option(help="Instant after the last; default now")]
COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
MEANINGS = {
    "unreadable": "blocks that are damaged in the log and cannot be read",
    "receipts": "blocks whose receipts are not those of their header",
    "lines": "blocks that hold more or fewer lines than their header counts",
    "missing": "lines in the log that are neither stored, duplicate, dead nor erased",
    "doubled": "rows that are stored more than once",
    "torn": "rows in two tables",
    "foreign": "rows at positions that the log does not hold",
}


class WrongOptionError(CommandError):
    """An option that is to be an instant is none, or one does not go with another."""

    exit_code = 2


@app.callback()
def ledger(  # noqa: PLR0913 - the options of a command
    context: typer.Context,
    start: Start = "",
    end: End = "",
    site: Annotated[str, typer.Option(help="Domain or id of one site; default all")] = "",
    *,
    verify: Annotated[
        bool, typer.Option("--verify", help="Count again from the log and every table, of all sites")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """What became of every record, by UTC hour of receipt.

    received = stored + bots + duplicate + refused + dead_lettered + in_flight + erased. Exit code 1 when it does not
    close.
    """
    if context.invoked_subcommand is not None:
        return
    refuse_wrong_instants(start, end)
    if verify:
        if site:
            message = "--verify counts all sites: leave --site away"
            raise WrongOptionError(message)
        closes = show_recount(run(recount(start, end, as_json=as_json)), as_json=as_json)
    else:
        closes = show(run(run_admin(read_settings(), "ledger", to_arguments(start, end, site))), as_json=as_json)
    if not closes:
        raise typer.Exit(1)


@app.command()
def repair(
    start: Start = "",
    end: End = "",
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove second copies of rows that are stored at the same position; one of each stays.

    Needed only when `pulse ledger` or the metric pulse_positions_doubled says so.
    """
    refuse_wrong_instants(start, end)
    found = run(find_damage(start, end, as_json=as_json))
    hours = sorted({str(row["hour"]) for row in (*found.doubled, *found.torn)})
    if hours and not yes:
        for row in found.doubled:
            errors.print(f"{row['hour']}: {row['rows']} rows too many")
        for row in found.torn:
            errors.print(f"{row['hour']}: {row['rows']} rows that are duplicates too")
        typer.confirm("Delete them?", abort=True, err=True)
    result = run(work(hours, as_json=as_json))
    text = f"{result['copies']} second copies deleted, {result['moves']} rows that are duplicates taken out of events"
    Speaker(as_json).show(result, text if hours else "nothing to repair")


def refuse_wrong_instants(start: str, end: str) -> None:
    """Raise WrongOptionError unless each is an instant or empty."""
    for option, text in (("--start", start), ("--end", end)):
        try:
            datetime.fromisoformat(text or "2026-11-21")
        except ValueError:
            message = f"{option} {text}: write an instant as ISO 8601 has it, for example 2026-11-21T10:00Z"
            raise WrongOptionError(message) from None


def to_arguments(start: str, end: str, site: str) -> dict[str, str]:
    """A day back, where nothing is said."""
    now = datetime.now(UTC)
    return {
        "start": start or (now - timedelta(days=1)).isoformat(),
        "end": end or (now + timedelta(hours=1)).isoformat(),
        "site": site,
    }


async def recount(start: str, end: str, *, as_json: bool) -> Recount:
    """Everything between the two instants once more."""
    found = Recount()
    async with asking(read_settings()) as ask:
        plan = await read_plan(ask, start, end)
        with showing(as_json=as_json) as shown:
            await recount_days(ask, plan, found, shown)
            await recount_log(ask, plan, found, shown)
    return found


async def find_damage(start: str, end: str, *, as_json: bool) -> Recount:
    """Which hours need a repair."""
    found = Recount()
    async with asking(read_settings()) as ask:
        plan = await read_plan(ask, start, end)
        with showing(as_json=as_json) as shown:
            await recount_days(ask, plan, found, shown)
    return found


async def work(hours: list[str], *, as_json: bool) -> Result:
    """Repair them one after the other; each is whole when the next begins."""
    copies = moves = 0
    async with asking(read_settings()) as ask:
        with showing(as_json=as_json) as shown:
            for done, hour in enumerate(hours):
                shown("hours", done, len(hours))
                result = await ask("ledger-repair", {"hour": hour})
                copies += cast("int", result["copies"])
                moves += cast("int", result["moves"])
    return {"hours": hours, "copies": copies, "moves": moves}


@contextmanager
def showing(*, as_json: bool) -> Iterator[Shown]:
    """A bar on standard error where somebody looks at it."""
    with Progress(*COLUMNS, console=errors, disable=as_json or not errors.is_terminal, transient=True) as progress:
        task = progress.add_task("")

        def shown(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, completed=done, total=total)

        yield shown


def show(result: Result, *, as_json: bool) -> bool:
    """Print the ledger and say whether it closes."""
    if as_json:
        print_json(result)
        return bool(result["closed"])
    show_ledger(cast("Rows", result["ledger"]))
    output.print("the two sides are equal" if result["closed"] else "THE TWO SIDES DIFFER")
    if result.get("doubled"):
        output.print(f"{result['doubled']} rows are stored more than once: `pulse ledger repair` removes second copies")
    elif not result["closed"]:
        output.print("`pulse ledger --verify` says where")
    return bool(result["closed"])


def show_recount(found: Recount, *, as_json: bool) -> bool:
    """Print what was found and say whether all is well."""
    if as_json:
        print_json(found.to_result())
        return found.closes
    speaker = Speaker(as_json=False)
    output.print(f"counted {found.days} days of receipt, and {found.lines} lines in {found.blocks} blocks of the log")
    if found.open:
        output.print("\nsites and hours whose two sides differ:")
        names = list(dict.fromkeys(name for row in found.open for name in row))
        speaker.show_rows("open", [{name: row.get(name, 0) for name in names} for row in found.open])
    for kind, rows in (("doubled", found.doubled), ("torn", found.torn)):
        if rows:
            output.print(f"\n{MEANINGS[kind]} (`pulse ledger repair`):")
            speaker.show_rows(kind, rows)
    for problem in found.problems:
        hour = f", {datetime.fromtimestamp(problem.hour, UTC):%Y-%m-%d %H:00Z}" if problem.hour else ""
        site = f" (site {problem.site_id}{hour}; {problem.erased} were erased)" if hour else ""
        output.print(f"\n{problem.records} {MEANINGS[problem.kind]}{site}: {', '.join(problem.examples)}")
    output.print("every record is where it belongs" if found.closes else "\nNOT EVERYTHING IS AS IT SHOULD BE")
    return found.closes


def show_ledger(rows: Rows) -> None:
    """The hours, and below them why records were refused: with the reasons a row would be too wide."""
    speaker = Speaker(as_json=False)
    reasons = [cast("dict[str, int]", row["refused"]) for row in rows]
    speaker.show_rows("ledger", [row | {"refused": sum(why.values())} for row, why in zip(rows, reasons, strict=True)])
    refusals = [{"hour": row["hour"], "refused": why} for row, why in zip(rows, reasons, strict=True) if why]
    if refusals:
        output.print()
        speaker.show_rows("refusals", refusals)
