"""`pulse migrate`: makes topics, tables and databases ready before any role starts."""

from __future__ import annotations

import typer

from deploy.terminal import AsJson, Speaker, read_settings, run

app = typer.Typer()
NOTHING = "an embedded installation makes itself ready when it starts: run `pulse serve`"


@app.command()
def migrate(*, as_json: AsJson = False) -> None:
    """Make servers ready that log, warehouse or control plane are on; run it before the roles start and after upgrades.

    A Kafka topic is made with the settings that Pulse needs, or looked at if it is there. Safe to run again.
    """
    settings = read_settings()
    from deploy.migrating import make_ready  # noqa: PLC0415 - loads the warehouse, which no other command needs

    done = run(make_ready(settings))
    Speaker(as_json).show({"done": done}, "\n".join(done) or NOTHING)
