"""Commands that move an installation: `pulse backup`, `pulse restore`, `pulse promote`."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path  # noqa: TC003 - typer reads the annotation
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from deploy.backup import back_up
from deploy.terminal import AsJson, Speaker, errors, read_settings, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

app = typer.Typer()
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
