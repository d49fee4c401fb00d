"""Which commands `pulse` has, and where each one is. Only what is called is loaded: each loads what it needs."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

import typer

HELP = "Pulse: web analytics that are right, provable and fast. Settings are PULSE_… variables, see the README."


@dataclass(frozen=True, slots=True)
class Group:
    """Commands of one module: those of its `app` by their own names, or all of them below `name`."""

    module: str
    commands: tuple[str, ...]
    app: str = "app"
    name: str | None = None


GROUPS = (
    Group("deploy.cli_serve", ("serve",)),
    Group("deploy.cli_sites", ("site",), name="site"),
    Group("deploy.cli_keys", ("key",), name="key"),
    Group("deploy.cli_import", ("import",), name="import"),
    Group("deploy.cli_geo", ("geo",), name="geo"),
    Group("deploy.cli_operate", ("doctor", "openapi")),
    Group("deploy.cli_ledger", ("ledger",), name="ledger"),
    Group("deploy.cli_move", ("backup", "restore", "promote")),
    Group("deploy.cli_migrate", ("migrate",)),
    Group("deploy.cli_operate", ("dead-letters",), "dead_letters", "dead-letters"),
    Group("deploy.cli_log", ("log",), "logs", "log"),
)


def make_app(wanted: str) -> typer.Typer:
    """What holds the wanted command, or all where that is none (help, a mistake)."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=HELP)
    for group in [group for group in GROUPS if wanted in group.commands] or GROUPS:
        app.add_typer(getattr(import_module(group.module), group.app), name=group.name)
    app.callback()(describe)
    return app


def describe() -> None:
    """Keep a command one with a name, also where it is the only one."""
