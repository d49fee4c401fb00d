"""Mounts `/` and `/demo/`. The pages load nothing from outside and hold no secret."""

from __future__ import annotations

from html import escape
from importlib import resources
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from query_api.dashboard.demo import DemoNumbers, find_demo_site
from query_api.dashboard.fresh import Fresh
from query_api.dashboard.home import may_see_flow, read_flow, read_state
from query_api.deps import ADMISSION, DEPS, HEALTH
from query_api.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiohttp.typedefs import Handler

STATIC = resources.files("query_api.dashboard") / "static"
TYPES: Mapping[str, str] = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FILES: Mapping[str, bytes] = {
    item.name: item.read_bytes() for item in STATIC.iterdir() if item.name.endswith(tuple(TYPES))
}
HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
NUMBERS_MILLISECONDS = 250
FLOW_MILLISECONDS = 2_000
SNIPPET = '<script defer src="/script.js" data-site-key="{}" data-local></script>'
NO_SITE = "<!-- There is no demo site, so nothing is counted here. -->"


def add_pages(app: web.Application, read_untrusted_forwarder: Callable[[], str | None]) -> None:
    """Mount the pages on the application that `build_app` made.

    `read_untrusted_forwarder` names the private peer that forwards without being trusted (the collector knows), or
    None.
    """
    home = Home(app, read_untrusted_forwarder)
    routes: Mapping[str, Handler] = {
        "/": show("home.html"),
        "/state": home.answer_state,
        "/static/{name}": show_file,
        "/demo": to_demo,
        "/demo/": show_demo("demo.html"),
        "/demo/prices": show_demo("demo.html"),  # what the demo shows without loading a page
        "/demo/second.html": show_demo("second.html"),
        "/demo/numbers": home.answer_numbers,
    }
    for path, handler in routes.items():
        app.router.add_get(path, handler)


class Home:
    """The two public answers, each worked out at most a few times a second."""

    def __init__(self, app: web.Application, read_untrusted_forwarder: Callable[[], str | None]) -> None:
        deps, admission = app[DEPS], app[ADMISSION]
        self._read_untrusted_forwarder = read_untrusted_forwarder
        self._numbers = Fresh(DemoNumbers(deps, admission).read, deps.clock, NUMBERS_MILLISECONDS)
        self._flow = Fresh(lambda: read_flow(deps, admission), deps.clock, FLOW_MILLISECONDS)

    async def answer_state(self, request: web.Request) -> web.Response:
        """Whether the server runs well; how busy it is only for whoever may know."""
        state = await read_state(request.app[DEPS], request.app[HEALTH], self._read_untrusted_forwarder())
        if state["status"] == "ok" and may_see_flow(request):
            state["flow"] = await self._flow.get()
        return to_json(state)

    async def answer_numbers(self, _request: web.Request) -> web.Response:
        """The demo's numbers."""
        return to_json(await self._numbers.get())


def show(name: str) -> Handler:
    """A handler of one packaged page."""
    body = (STATIC / name).read_bytes()

    async def handle(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type="text/html", charset="utf-8", headers=HEADERS)

    return handle


def show_demo(name: str) -> Handler:
    """A handler of one page of the demo, with the demo site's snippet and its numbers in it."""
    page = (STATIC / name).read_text().replace("<!-- numbers -->", (STATIC / "numbers.html").read_text())

    async def handle(request: web.Request) -> web.StreamResponse:
        site = await find_demo_site(request.app[DEPS])
        snippet = NO_SITE if site is None else SNIPPET.format(escape(site.site_key))
        return web.Response(text=page.replace("<!-- snippet -->", snippet), content_type="text/html", headers=HEADERS)

    return handle


async def show_file(request: web.Request) -> web.StreamResponse:
    """A style, script or picture of the pages."""
    name = request.match_info["name"]
    if name not in FILES:
        message = f"There is nothing at {request.path}"
        raise NotFoundError(message)
    content_type = TYPES[name[name.rindex(".") :]]
    return web.Response(body=FILES[name], content_type=content_type, charset="utf-8", headers=HEADERS)


async def to_demo(_request: web.Request) -> web.Response:
    """The demo's address ends in a slash."""
    return web.Response(status=308, headers={"Location": "/demo/"})


def to_json(body: Mapping[str, object]) -> web.Response:
    """A small answer that nobody keeps."""
    return web.Response(
        body=orjson.dumps(body), content_type="application/json", headers={**HEADERS, "Cache-Control": "no-store"}
    )
