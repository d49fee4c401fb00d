"""A collector that is one of several on the same port."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from deploy.base import open_base
from deploy.health import make_health_app
from deploy.http import make_collector, serve_http
from deploy.jobs import write_key_uses
from deploy.workers_member import joining

if TYPE_CHECKING:
    from deploy.settings import Settings
    from deploy.workers_place import Place


async def collect_beside_others(settings: Settings, place: Place, stop: asyncio.Event) -> None:
    """HTTP in, log out, on the sockets that the parent gave; health and figures are those of all workers."""
    async with open_base(settings) as opened:
        base = replace(opened, inherited=place.open_listening())
        async with joining(place, base.registry, stop) as member, asyncio.TaskGroup() as group:
            ready = asyncio.Event()
            pings = {**base.pings, "workers": member.ping}
            app = make_health_app(pings, base.registry, settings.metrics_from, member.read_metrics)
            group.create_task(serve_http(base, make_collector(base), app, stop, ready), name="http")
            group.create_task(write_key_uses(base, stop), name="key uses")
            await ready.wait()
            member.tell_serving()
