"""`pulse migrate`: makes topics, tables and databases ready before any role starts."""

from __future__ import annotations

import typer

from deploy.terminal import AsJson, Speaker, read_settings, run

app = typer.Typer()


@app.command()
def migrate(*, as_json: AsJson = False) -> None:
    """Make log, warehouse and control plane ready; run it once before the roles start, and after each upgrade.

    A Kafka topic is made with the settings that Pulse needs, or looked at if it is there. Safe to run again.
    """
    from deploy.urls import refuse_wrong_urls  # noqa: PLC0415 - reads URLs, which no help needs

    settings = read_settings()
    refuse_wrong_urls(settings)
    if not settings.is_scaled:
        message = "an embedded installation makes itself ready when it starts: run `pulse serve`"
        Speaker(as_json).show({"done": []}, message)
        return
    from deploy.migrating import make_ready  # noqa: PLC0415 - loads the warehouse, which no other command needs

    done = run(make_ready(settings))
    Speaker(as_json).show({"done": done}, "\n".join(done))
