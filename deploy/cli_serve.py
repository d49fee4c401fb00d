"""`pulse serve`. Light: a collector alone must not load the warehouse's engine, a parent of workers nothing at all."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.announcing import Announcer
from deploy.clock import jump_on_signal
from deploy.lean import loading
from deploy.observe import configure_logs
from deploy.role import Role
from deploy.terminal import AsJson, read_settings
from deploy.workers import lead, refuse_other_roles, to_count
from deploy.workers_place import Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploy.settings import Settings

app = typer.Typer()
ALONE = "1"
WORKERS = "Collectors on the one port: a number, or auto for one a core. Only with --role collector"


@app.command()
def serve(  # noqa: PLR0913 - each is an option of the command
    role: Annotated[list[Role] | None, typer.Option(help="What this process does; may be repeated")] = None,
    workers: Annotated[str, typer.Option(help=WORKERS, metavar="N")] = ALONE,
    failpoint: Annotated[str, typer.Option(hidden=True, help="Die here, for the tests of crashes")] = "",
    worker: Annotated[str, typer.Option(hidden=True, help="Be a worker; said by the parent")] = "",
    clock_step: Annotated[int, typer.Option(hidden=True, help="Jump so many seconds at SIGUSR2, for tests")] = 0,
    *,
    as_json: AsJson = False,
) -> None:
    """Serve until Ctrl-C: collect, consume, answer. With --json it says where, once it does."""
    settings = read_settings()
    configure_logs(settings.log_level)
    roles = frozenset(role or [Role.ALL])
    if workers != ALONE:
        refuse_other_roles(roles)
    if clock_step:
        jump_on_signal(clock_step)
    count = to_count(workers)
    announcer = Announcer(settings, roles, count, as_json)
    if count == 1:
        serve_here(settings, announcer, die_at(failpoint), Place.parse(worker) if worker else None)
    elif code := asyncio.run(lead(settings, count, announcer.tell)):
        raise typer.Exit(code)


def serve_here(settings: Settings, announcer: Announcer, failpoint: Callable[[str], None], place: Place | None) -> None:
    """Serve in this process, as one of several workers where there is a place."""
    own = settings if place is None else place.share(settings)
    with loading():
        import uvloop  # noqa: PLC0415 - a parent of workers loads none of this

        from deploy import roles  # noqa: PLC0415 - as above

    uvloop.run(roles.serve(own, announcer, failpoint, place))


def die_at(wanted: str) -> Callable[[str], None]:
    """End the process without a word, as kill -9 does, where the name is the wanted one."""

    def failpoint(name: str) -> None:
        if name == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    return failpoint
