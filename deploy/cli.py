"""The command `pulse`: exit 0 done, 1 failed with one clear line on standard error, 2 wrong usage."""

from __future__ import annotations

import sys

import typer
from sqlalchemy.exc import SQLAlchemyError

from deploy import cli_import, cli_keys, cli_sites
from deploy.importer import ImportFailedError
from deploy.observe import configure_logs
from deploy.terminal import CommandError, errors
from query_api.errors import ApiError
from schemas.warehouse.client import WarehouseError

EXPECTED = (CommandError, ApiError, ImportFailedError, WarehouseError, SQLAlchemyError, OSError, ValueError)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Pulse: web analytics that are right, provable and fast. Settings are PULSE_… variables, see the README.",
)
app.add_typer(cli_sites.app, name="site")
app.add_typer(cli_keys.app, name="key")
app.add_typer(cli_import.app, name="import")


def main() -> None:
    """Run the command line."""
    configure_logs("warning")
    try:
        app()
    except EXPECTED as error:
        line = " ".join(str(error).split()) or type(error).__name__
        errors.print(f"pulse: {line}", soft_wrap=True, markup=False)
        sys.exit(1)
