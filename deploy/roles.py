"""What a process does: its roles, in one TaskGroup with one stop. The default is all of them.

The embedded engine allows one process a folder, so there consumer, query and jobs go together; a collector may be a
process of its own on the same log. On servers every role may be a process of its own, and several at once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from deploy.base import Base, open_base
from deploy.health import make_health_app
from deploy.http import make_collector, serve_http
from deploy.jobs import write_key_uses
from deploy.lean import keep_unused_out, loading
from deploy.private import working_in_private_folder
from deploy.role import Role
from deploy.signals import stopping_on_signals

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploy.announcing import Announcer
    from deploy.settings import Settings
    from deploy.workers_place import Place
    from query_api.control.first_start import Welcome

log = structlog.get_logger()


async def serve(
    settings: Settings, announcer: Announcer, failpoint: Callable[[str], None], place: Place | None = None
) -> None:
    """Run the roles until a signal comes, then stop: listening first, then what is under way, then the parts.

    `place` is that of a worker among others.
    """
    keep_unused_out()
    stop = asyncio.Event()
    with working_in_private_folder(settings.data), stopping_on_signals(stop):
        if place is not None:
            from deploy.workers_collect import collect_beside_others  # noqa: PLC0415 - only a worker needs it

            await collect_beside_others(settings, place, stop)
        elif announcer.roles == {Role.COLLECTOR}:
            await collect_only(settings, announcer, stop)
        else:
            with loading():
                from deploy.whole import serve_whole  # noqa: PLC0415 - a collector must not load the engine

            await serve_whole(settings, announcer, stop, failpoint)
    log.info("stopped")


async def collect_only(settings: Settings, announcer: Announcer, stop: asyncio.Event) -> None:
    """The collector role alone: HTTP in, log out."""
    async with open_base(settings) as base, asyncio.TaskGroup() as group:
        ready = asyncio.Event()
        app = make_health_app(base.pings, base.registry, settings.metrics_from)
        group.create_task(serve_http(base, make_collector(base), app, stop, ready), name="http")
        group.create_task(write_key_uses(base, stop), name="key uses")
        await ready.wait()
        announce(base, announcer)


def announce(base: Base, announcer: Announcer, newcomer: Welcome | None = None) -> None:
    """Say where."""
    log.info("serving", at=f"http://{base.settings.listen}", data=str(base.settings.data))
    announcer.tell(newcomer)
