"""The command `pulse`: exit 0 done, 1 failed with one clear line on standard error, 2 wrong usage."""

from __future__ import annotations

import sys

import typer
import uvloop
from sqlalchemy.exc import SQLAlchemyError

from deploy import cli_import, cli_keys, cli_sites, roles
from deploy.importer import ImportFailedError
from deploy.lock import FolderInUseError
from deploy.observe import configure_logs
from deploy.terminal import CommandError, errors, read_settings
from ingest.writer import no_failpoint
from query_api.errors import ApiError
from schemas.warehouse.client import WarehouseError

EXPECTED = (
    CommandError,
    FolderInUseError,
    ApiError,
    ImportFailedError,
    WarehouseError,
    SQLAlchemyError,
    OSError,
    ValueError,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Pulse: web analytics that are right, provable and fast. Settings are PULSE_… variables, see the README.",
)
app.add_typer(cli_sites.app, name="site")
app.add_typer(cli_keys.app, name="key")
app.add_typer(cli_import.app, name="import")


@app.command()
def serve() -> None:
    """Serve: collect, consume and answer in one process, until Ctrl-C."""
    settings = read_settings()
    configure_logs(settings.log_level)
    uvloop.run(roles.serve(settings, no_failpoint))


def main() -> None:
    """Run the command line."""
    configure_logs("warning")
    try:
        app()
    except EXPECTED as error:
        line = " ".join(str(error).split()) or type(error).__name__
        errors.print(f"pulse: {line}", soft_wrap=True, markup=False)
        sys.exit(1)
