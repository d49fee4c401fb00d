"""Consumer, query and jobs, whichever are asked (and the collector): on the embedded engine all in one process."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from deploy.admin import answering_commands
from deploy.attribution import AttributionReader
from deploy.health import make_health_app
from deploy.http import make_collector, serve_http
from deploy.jobs import watch_disk, write_key_uses
from deploy.jobs_beside import ping_jobs, run_jobs
from deploy.lean import loading
from deploy.parts import Parts, open_parts
from deploy.role import Role
from deploy.roles import announce
from deploy.terminal import SettingError
from deploy.urls import refuse_wrong_urls
from query_api.app import build_app
from query_api.control.first_start import ensure_first_start
from query_api.dashboard.pages import add_pages
from query_api.deps import Deps
from query_api.limits import check_limits
from query_api.limits_errors import LimitsUnusableError
from schemas.warehouse.client import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from aiohttp import web

    from deploy.announcing import Announcer
    from deploy.settings import Settings
    from query_api.control.first_start import Welcome
    from query_api.health import Ping


async def serve_whole(
    settings: Settings, announcer: Announcer, stop: asyncio.Event, failpoint: Callable[[str], None]
) -> None:
    """Run until `stop`."""
    roles = announcer.roles
    everything = Role.ALL in roles
    refuse_wrong_urls(settings)
    async with open_parts(settings, failpoint) as parts, answering(parts), asyncio.TaskGroup() as group:
        if parts.following is None:
            await parts.retention.resume()  # before the consumer: it would land rows among those that are half deleted
        else:
            group.create_task(parts.following.run(stop), name="following")
        if everything or Role.QUERY in roles:
            await refuse_wrong_limits(settings)
        ready = asyncio.Event()
        collector = make_collector(parts.base) if everything or Role.COLLECTOR in roles else None
        works = everything or Role.JOBS in roles
        app = make_app(parts, make_pings(parts, works=works), answers=everything or Role.QUERY in roles)
        group.create_task(serve_http(parts.base, collector, app, stop, ready), name="http")
        consumes = everything or Role.CONSUMER in roles
        consuming = group.create_task(parts.consumer.run(stop) if consumes else wait_for(stop), name="consumer")
        group.create_task(write_key_uses(parts.base, stop), name="key uses")
        group.create_task(watch_disk(parts, stop), name="disk")
        if works:
            jobs = group.create_task(run_jobs(parts, stop), name="jobs")
            # Not before the consumer has ended: no batch may land beside an erasure that was broken off.
            consuming.add_done_callback(lambda _: jobs.cancel())
        await ready.wait()
        announce(parts.base, announcer, await greet(parts) if everything else None)
        if consumes:
            with loading():
                await asyncio.to_thread(parts.consumer.load)  # beside serving: a start is half a second shorter


async def refuse_wrong_limits(settings: Settings) -> None:
    """Raise SettingError when requests cannot be counted where the setting says."""
    try:
        await check_limits(settings.limits_url)
    except LimitsUnusableError as error:
        raise SettingError(str(error)) from error


def answering(parts: Parts) -> AbstractAsyncContextManager[None]:
    """Run commands for others where nobody else can; servers they can reach by themselves."""
    return answering_commands(parts) if parts.following is None else nullcontext()


async def wait_for(stop: asyncio.Event) -> None:
    """Return when it is time to stop."""
    await stop.wait()


def make_pings(parts: Parts, *, works: bool) -> Mapping[str, Ping]:
    """How to ask each part; the jobs where this process has them."""
    jobs = {"jobs": partial(ping_jobs, parts.base.control)} if works else {}
    return {**parts.base.pings, "warehouse": parts.warehouse.ping, **jobs}


def make_app(parts: Parts, pings: Mapping[str, Ping], *, answers: bool) -> web.Application:
    """The query application, or health and metrics alone."""
    if not answers:
        return make_health_app(pings, parts.base.registry, parts.base.settings.metrics_from)
    deps = Deps(
        warehouse=parts.warehouse,
        control=parts.base.control,
        clock=parts.base.clock,
        read_completeness=parts.read_completeness,
        read_in_flight=parts.read_in_flight,
        versions=parts.versions,
        pings=pings,
        registry=parts.base.registry,
        limits=Limits(),
        version=version("pulse-analytics"),
        metrics_from=parts.base.settings.metrics_from,
        limits_url=parts.base.settings.limits_url,
        read_attribution=AttributionReader(parts.base.settings.geo_path, parts.base.clock).read,
    )
    app = build_app(deps)
    add_pages(app, parts.base.untrusted_forwarder)
    return app


async def greet(parts: Parts) -> Welcome | None:
    """What a newcomer must be told, once, to begin; None for who has been here."""
    return await ensure_first_start(parts.base.control, parts.base.settings.plan, parts.base.now())
