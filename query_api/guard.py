"""Before a handler: who asks, may they, and is there room. After it: the headers that say what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from query_api.auth import read_key, refuse_scope
from query_api.deps import CALLER, DEPS, LIMITS, QUOTA, RING
from query_api.errors import ForbiddenError, NotFoundError
from query_api.limits import refuse_excess
from query_api.params import parse_question
from query_api.question import Access, SiteView
from query_api.stream_tokens import spend_token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from query_api.auth import Caller
    from query_api.question import Question, Report

LONGEST_SHOWN = 100
TOKEN = "token"  # noqa: S105 - the parameter's name


async def identify(request: web.Request) -> Caller:
    """The caller behind the request's key."""
    return await request.app[RING].find(read_key(request.headers))


async def identify_listener(request: web.Request) -> Caller:
    """The caller behind the request's stream token, or its key when it shows no token."""
    deps = request.app[DEPS]
    if TOKEN not in request.query:
        return await identify(request)
    return await request.app[RING].find_by_id(await spend_token(deps.control, request.query[TOKEN], deps.now()))


async def admit(request: web.Request, caller: Caller) -> None:
    """Count the request against the key's limits, then refuse what key or plan do not allow."""
    request[CALLER] = caller
    request.app[RING].note_use(caller)
    request[QUOTA], allowed = await request.app[LIMITS].take(caller.key.id, caller.plan)
    if not allowed:
        raise refuse_excess(request[QUOTA])
    refuse_scope(caller, "read")


async def add_quota(request: web.Request, response: web.StreamResponse) -> None:
    """On every answer to a key (a signal: it runs before the headers leave)."""
    if QUOTA in request:
        response.headers.update(request[QUOTA].to_headers())


def parse(request: web.Request, report: Report, query: Sequence[tuple[str, str]]) -> Question:
    """The question that the request asks of this report; NotFoundError for a site that the key does not see."""
    access = to_access(request[CALLER])
    known = {name for site in access.sites for name in (str(site.id), site.domain)}
    for name, value in query:
        if name == "site" and value not in known:
            message = f"There is no site {value[:LONGEST_SHOWN]!a} in this project: /v1/sites lists the sites there are"
            raise NotFoundError(message)
    return parse_question(report, query, access, request.app[DEPS].now())


def to_access(caller: Caller) -> Access:
    """The sites that the caller may ask of; ForbiddenError when there is none."""
    if not caller.sites:
        message = "This project has no site yet: `pulse site create --domain example.com` makes one"
        raise ForbiddenError(message)
    return Access(tuple(SiteView(site.id, site.domain, site.timezone) for site in caller.sites))
