"""Commands that move an installation: `pulse backup`, `pulse restore`, `pulse promote`."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path  # noqa: TC003 - typer reads the annotation
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from deploy.lean import keep_unused_out
from deploy.terminal import AsJson, Speaker, errors, read_settings, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

app = typer.Typer()
OUT_OF_USE = "The old data folder is out of use. Its log holds addresses: remove the folder."
LOG_STAYS = "The log stays in the data folder: start Pulse with these settings on it. Its warehouse/ is out of use."
COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    DownloadColumn(),
    TransferSpeedColumn(),
    TimeRemainingColumn(),
)


@contextmanager
def showing(what: str, *, as_json: bool) -> Iterator[Callable[[int, int], None]]:
    """Draw progress in bytes on standard error, where somebody looks; give what to tell it."""
    with Progress(*COLUMNS, console=errors, disable=as_json or not errors.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(help="A new folder, or a new file that ends in .tar or .tar.zst")],
    *,
    log: Annotated[
        bool, typer.Option("--log/--no-log", help="With the events that are not counted yet; they hold addresses")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Copy the embedded installation while it runs: warehouse, control plane, the log's rest. No salts."""
    from deploy.backup import back_up  # noqa: PLC0415 - loads what other commands do not need

    with showing("backup", as_json=as_json) as tell:
        about = run(back_up(read_settings(), target.absolute(), tell, with_log=log))
    held = (
        "it holds client addresses (the log's rest): keep it as you keep the log" if log else "without the log's rest"
    )
    text = f"{about['events']} events, {about['bytes']} bytes in {target}, for its owner alone (0600); {held}"
    Speaker(as_json).show({"backup": str(target), **about}, text)


@app.command()
def restore(
    backup: Annotated[Path, typer.Argument(help="A folder or a file that `pulse backup` made")],
    *,
    as_json: AsJson = False,
) -> None:
    """Make an empty data folder what the backup holds, and verify it by the ledger. Exit code 1 on any difference."""
    keep_unused_out()
    from deploy.backup_restore import days_with_new_salts, restore  # noqa: PLC0415 - loads the engine

    with showing("restore", as_json=as_json) as tell:
        result = run(restore(read_settings(), backup.absolute(), tell))
    days = days_with_new_salts()
    rest = (
        "Events that were not counted yet are in the log and are counted at the next start."
        if result["log"]
        else "The log's rest was not in it: the next start makes a new log; what was not counted yet is not there."
    )
    text = (
        f"{result['events']} events restored, the ledger is that of {result['made']}. {rest} "
        f"Salts are in no backup: visitors of {days[0]} to {days[-1]} who come again, or whose events come late, "
        "count once more on their day."
    )
    Speaker(as_json).show({**result, "days_with_new_salts": days}, text)


class Showing:
    """Draws rows with what is left and how fast, and says what a person should know, on standard error."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("rows", total=None)

    def say(self, text: str) -> None:
        """A line, also where nobody draws."""
        self._progress.stop_task(self._task)
        self._task = self._progress.add_task("rows", total=None)
        errors.print(text, soft_wrap=True, markup=False)

    def count(self, done: int, total: int) -> None:
        """Rows of the present piece of work."""
        seconds = self._progress.tasks[-1].elapsed or 0.0
        rate = f"rows, {done / seconds:,.0f}/s" if seconds else "rows"
        self._progress.update(self._task, completed=done, total=total, description=rate)


@app.command()
def promote(  # noqa: PLR0913 - each is an option of the command
    *,
    warehouse: Annotated[str, typer.Option(metavar="URL", help="clickhouse://…, an empty database; ?password_file=")],
    control: Annotated[str, typer.Option(metavar="URL", help="postgresql://…, an empty database; ?password_file=")],
    log: Annotated[str, typer.Option(metavar="URL", help="kafka://…; left out the log stays where it is")] = "",
    limits: Annotated[str, typer.Option(metavar="URL", help="redis://…; only told in the new settings")] = "",
    mend: Annotated[bool, typer.Option("--mend", help="Copy sites and months anew that differ")] = False,
    grace: Annotated[float, typer.Option(min=0, help="Seconds without old server and events: it was stopped")] = 60,
    as_json: AsJson = False,
) -> None:
    """Move this embedded installation to servers while it keeps collecting; prove by the ledger that all arrived.

    Run it beside the server, with the server's settings. Interrupted, run it again. Exit code 1 on any difference.
    """
    keep_unused_out()
    from deploy.promote import promote  # noqa: PLC0415 - loads the engine
    from deploy.promote_goal import Goal  # noqa: PLC0415 - as above

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, disable=as_json or not errors.is_terminal, transient=True) as progress:
        result = run(promote(read_settings(), Goal(warehouse, control, log, limits, mend, grace), Showing(progress)))
    lines = "\n".join(f"{name}={value}" for name, value in cast("dict[str, str]", result["settings"]).items())
    text = (
        f"Done: both sides are the same. The settings from now on (write user and password for ***):\n{lines}\n"
        f"{OUT_OF_USE if log else LOG_STAYS}"
    )
    Speaker(as_json).show(result, text)
