"""What the page at `/` tells of the running server. Nothing secret: anybody may read it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from query_api.errors import ForbiddenError
from query_api.handlers import to_completeness
from query_api.ledger import OUTCOMES, read_ledger
from query_api.operations import refuse_strangers
from query_api.question import Range
from schemas.control.tables import sites

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from query_api.deps import Deps
    from query_api.health import HealthChecks
    from query_api.limits import Admission
    from schemas.event import SiteId

DAY = timedelta(hours=24)


async def read_state(deps: Deps, health: HealthChecks, untrusted_forwarder: str | None) -> dict[str, object]:
    """Whether each part answers, how much is counted, and a proxy that must be named."""
    found = await health.read()
    state: dict[str, object] = {
        "version": deps.version,
        "status": "ok" if found.is_well else "degraded",
        "parts": dict(found.parts),
        "untrusted_forwarder": untrusted_forwarder,
    }
    if found.is_well:
        state["completeness"] = to_completeness(await deps.read_completeness())
    return state


async def read_flow(deps: Deps, admission: Admission) -> dict[str, int]:
    """What became of everything that came in during the last 24 hours (by hour of receipt), all sites together."""
    now = deps.now()
    owned = await list_site_ids(deps)
    async with admission.enter():
        ledger = await read_ledger(deps.warehouse, deps.read_in_flight, owned, Range(now - DAY, now), deps.limits)
    flow = {name: sum(_number(row[name]) for row in ledger.rows) for name in ("received", *OUTCOMES)}
    flow["refused"] = sum(_number(count) for row in ledger.rows for count in _counts(row["refused"]).values())
    return flow


async def list_site_ids(deps: Deps) -> list[SiteId]:
    """Every site, those of the sandbox and the deleted ones too: the ledger keeps their counts."""
    async with deps.control.connect() as connection:
        return list((await connection.execute(select(sites.c.id).order_by(sites.c.id))).scalars())


def may_see_flow(request: web.Request) -> bool:
    """How busy the sites are is for whoever may read `/metrics`."""
    try:
        refuse_strangers(request)
    except ForbiddenError:
        return False
    return True


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _counts(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
