"""`pulse serve`. Light: a collector alone must not load the warehouse's engine."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Annotated

import typer
import uvloop

from deploy import roles
from deploy.observe import configure_logs
from deploy.roles import Role
from deploy.terminal import read_settings

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer()


@app.command()
def serve(
    role: Annotated[list[Role] | None, typer.Option(help="What this process does; may be repeated")] = None,
    failpoint: Annotated[str, typer.Option(hidden=True, help="Die here, for the tests of crashes")] = "",
) -> None:
    """Serve in one process until Ctrl-C: collect, consume, answer."""
    settings = read_settings()
    configure_logs(settings.log_level)
    uvloop.run(roles.serve(settings, frozenset(role or [Role.ALL]), die_at(failpoint)))


def die_at(wanted: str) -> Callable[[str], None]:
    """End the process without a word, as kill -9 does, where the name is the wanted one."""

    def failpoint(name: str) -> None:
        if name == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    return failpoint
