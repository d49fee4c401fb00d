"""Which commands `pulse` has."""

from __future__ import annotations

import typer

from deploy import cli_serve

HELP = "Pulse: web analytics that are right, provable and fast. Settings are PULSE_… variables, see the README."


def make_app(*, only_serve: bool) -> typer.Typer:
    """All commands, or `serve` alone: the others load what a serving process may not need."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=HELP)
    app.add_typer(cli_serve.app)
    if only_serve:
        app.callback()(describe)
        return app
    from deploy import cli_geo, cli_import, cli_keys, cli_ledger, cli_migrate, cli_move, cli_operate, cli_sites  # noqa: PLC0415 - see above

    app.add_typer(cli_sites.app, name="site")
    app.add_typer(cli_keys.app, name="key")
    app.add_typer(cli_import.app, name="import")
    app.add_typer(cli_geo.app, name="geo")
    app.add_typer(cli_operate.app)
    app.add_typer(cli_ledger.app, name="ledger")
    app.add_typer(cli_move.app)
    app.add_typer(cli_migrate.app)
    app.add_typer(cli_operate.dead_letters, name="dead-letters")
    app.add_typer(cli_operate.logs, name="log")
    return app


def describe() -> None:
    """Keep `serve` a command with a name, also where it is the only one."""
