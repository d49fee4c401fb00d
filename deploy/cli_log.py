"""`pulse log`: what is done to the event log by hand."""

from __future__ import annotations

import typer

from deploy.base import open_settings_log
from deploy.clock import read_clock
from deploy.control import control_of
from deploy.lock import holding
from deploy.terminal import AsJson, Speaker, read_settings, run
from ingest.logs import adopt_log

logs = typer.Typer(no_args_is_help=True, help="The event log")


@logs.command("adopt")
def adopt(*, as_json: AsJson = False) -> None:
    """Take the log in the data folder as a new one, after it was restored or cut. Needs the server stopped."""
    settings = read_settings()

    async def work() -> dict[str, object]:
        async with control_of(settings) as control:
            with holding(settings.data):
                log = await open_settings_log(settings)
                try:
                    return {"log": await adopt_log(control.engine, log.identity, read_clock)}
                finally:
                    await log.close()

    result = run(work())
    Speaker(as_json).show(result, f"the log is number {result['log']} from now on")


@logs.callback()
def group() -> None:
    """The event log."""
