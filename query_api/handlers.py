"""One handler for every report, and one each for sites, the ledger and stream tokens: decode, call, encode."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from query_api.deps import ADMISSION, CACHE, CALLER, DEPS
from query_api.formats import choose_format, to_body
from query_api.guard import parse
from query_api.ledger import read_ledger
from query_api.openapi_parts import PAGING
from query_api.question import Answer
from query_api.reports import answer
from query_api.site_pages import SITE_COLUMNS, parse_page, to_site_row
from query_api.stream_tokens import create_token

if TYPE_CHECKING:
    from query_api.question import Format, Question, Report
    from schemas.completeness import Completeness

LONGEST_LINK = 3000  # proxies with their usual settings refuse an answer with more than 4 KiB of headers in all
TOTAL, LINK = PAGING
NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


async def answer_report(request: web.Request, report: Report) -> web.Response:
    """Any report over a range."""
    question = parse(request, report, list(request.query.items()))
    return respond(request, question.format, await ask_complete(request, question))


async def answer_geo(request: web.Request, report: Report) -> web.Response:
    """Places, and whose database they come from."""
    question = parse(request, report, list(request.query.items()))
    answered = await ask_complete(request, question)
    text = request.app[DEPS].read_attribution()
    meta = {**answered.meta, "attribution": text} if text else answered.meta
    return respond(request, question.format, replace(answered, meta=meta))


async def answer_realtime(request: web.Request, report: Report) -> web.Response:
    """Who is here now; never from the cache, since time alone changes it."""
    question = parse(request, report, list(request.query.items()))
    deps = request.app[DEPS]
    completeness = await deps.read_completeness()
    async with request.app[ADMISSION].enter():
        answered = await answer(question, deps.warehouse, deps.now(), deps.limits)
    return respond(request, question.format, with_completeness(answered, completeness))


async def answer_ledger(request: web.Request, report: Report) -> web.Response:
    """What became of every record received."""
    question = parse(request, report, list(request.query.items()))
    deps = request.app[DEPS]
    completeness = await deps.read_completeness()
    async with request.app[ADMISSION].enter():
        sites = [site.id for site in question.sites]
        ledger = await read_ledger(deps.warehouse, deps.read_in_flight, sites, question.range, deps.limits)
    meta = {
        "start": to_text(question.range.start),
        "end": to_text(question.range.end),
        "closed": ledger.closed,
        "total": len(ledger.rows),
    }
    columns = (*report.dimensions, *report.measures)
    return respond(request, question.format, with_completeness(Answer(columns, ledger.rows, meta), completeness))


async def answer_sites(request: web.Request, _report: Report) -> web.Response:
    """A page of the sites that the key sees."""
    page = parse_page(list(request.query.items()))
    sites = request[CALLER].sites
    rows = [to_site_row(site) for site in page.cut(sites)]
    answered = Answer(SITE_COLUMNS, rows, page.to_meta(len(sites)))
    return respond(request, page.format, answered, page.to_following(len(sites)))


async def answer_stream_token(request: web.Request, _report: Report) -> web.Response:
    """A token for one stream."""
    deps = request.app[DEPS]
    token = await create_token(deps.control, request[CALLER].key.id, deps.now())
    return web.Response(
        status=201, body=orjson.dumps(token.model_dump(mode="json")), content_type="application/json", headers=NO_STORE
    )


async def ask_complete(request: web.Request, question: Question) -> Answer:
    """The answer with its completeness, which is read before the rows: it promises no more than they hold."""
    completeness = await request.app[DEPS].read_completeness()
    return with_completeness(await ask_cached(request, question), completeness)


async def ask_cached(request: web.Request, question: Question) -> Answer:
    """The answer from the cache or the warehouse."""
    deps, cache = request.app[DEPS], request.app[CACHE]
    versions = cache.read_versions(question)
    found = cache.find(question, versions)
    if found is not None:
        return found
    async with request.app[ADMISSION].enter():
        answered = await answer(question, deps.warehouse, deps.now(), deps.limits)
    cache.keep(question, versions, answered)
    return answered


def respond(request: web.Request, asked: Format | None, answered: Answer, following: str = "") -> web.Response:
    """The answer in the format that the request asks for, by parameter or by header.

    `following` is the query of the next page where it is no cursor.
    """
    format_ = choose_format(asked, request.headers.get("Accept", ""))
    content_type, body = to_body(answered, format_)
    if cursor := answered.meta.get("cursor"):
        following = f"cursor={cursor}"
    paging = {} if format_ == "json" else to_paging(answered, format_, following)
    return web.Response(body=body, headers={"Content-Type": content_type, "Vary": "Accept", **NO_STORE, **paging})


def to_paging(answered: Answer, format_: Format, following: str) -> dict[str, str]:
    """What a file cannot say in a `meta`: how many rows there are in all, and where the next ones are (RFC 8288)."""
    if answered.meta.get("total") is None:
        return {}
    link = f'<?{following}&format={format_}>; rel="next"'
    has_link = following and len(link) <= LONGEST_LINK
    return {TOTAL: str(answered.meta["total"])} | ({LINK: link} if has_link else {})


def with_completeness(answered: Answer, completeness: Completeness) -> Answer:
    """Say how much of what was acknowledged is counted."""
    return replace(answered, meta={**answered.meta, "completeness": to_completeness(completeness)})


def to_completeness(completeness: Completeness) -> dict[str, str | float | bool]:
    """As `meta.completeness`."""
    received = datetime.fromtimestamp(completeness.received_up_to / 1000, UTC)
    return {"received_up_to": to_text(received), "lag": completeness.lag, "exact": completeness.exact}


def to_text(instant: datetime) -> str:
    """UTC in milliseconds, with Z."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
