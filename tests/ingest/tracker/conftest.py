"""A site with the tracker in its pages, and a collector that only writes down what arrives."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson
import pytest_asyncio
from aiohttp import web

from ingest.tracker import read_script
from tests.browser import browser, context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

__all__ = ["browser", "context"]

Event = dict[str, object]
SNIPPET = '<script defer src="/script.js" data-site-key="sk_live_test" data-local></script>'
STUB = "<script>window.pulse=window.pulse||function(){(pulse.q=pulse.q||[]).push(arguments)}</script>"

# Headless Chromium never hides a page: the state is set, the event is fired.
HIDE = """state => {
    Object.defineProperty(document, "visibilityState", {value: state, configurable: true});
    Object.defineProperty(document, "hidden", {value: state == "hidden", configurable: true});
    document.dispatchEvent(new Event("visibilitychange", {bubbles: true}));
}"""


@dataclass
class Place:
    """A small site and what it received. `answers` are the statuses of the next posts, then 202."""

    url: str = ""
    pages: dict[str, str] = field(default_factory=dict)
    headers: dict[str, Mapping[str, str]] = field(default_factory=dict)
    answers: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    posts: list[list[Event]] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def events(self) -> list[Event]:
        """All events of all posts, resent ones too, in the order in which they arrived."""
        return [event for post in self.posts for event in post]

    def add_page(self, path: str, body: str = "", head: str = SNIPPET) -> str:
        """Serve a page and give its address."""
        self.pages[path] = f"<!doctype html><title>Page {path}</title>{head}<body>{body}</body>"
        return self.url + path

    async def serve_script(self, request: web.Request) -> web.Response:
        """Serve the script, never from a browser's cache."""
        async with self.changed:
            self.asked.append(request.path)
            self.changed.notify_all()
        return web.Response(body=read_script(), content_type="text/javascript", headers={"Cache-Control": "no-store"})

    async def receive(self, request: web.Request) -> web.Response:
        """Write down a post."""
        async with self.changed:
            self.asked.append(request.path)
            self.posts.append(orjson.loads(await request.text()))
            self.changed.notify_all()
        status = self.answers.pop(0) if self.answers else 202
        return web.Response(status=status, text=f"answer {status}")

    async def show(self, request: web.Request) -> web.Response:
        """Answer a page with its headers, else 404."""
        async with self.changed:
            self.asked.append(request.path)
            self.changed.notify_all()
        if request.path not in self.pages:
            return web.Response(status=404)
        return web.Response(
            text=self.pages[request.path], content_type="text/html", headers=self.headers.get(request.path)
        )

    async def until_came(self, name: str, times: int = 1) -> list[Event]:
        """Wait for so many events of that name and give all that arrived, engagement too."""
        async with asyncio.timeout(60), self.changed:
            await self.changed.wait_for(lambda: [event["name"] for event in self.events].count(name) >= times)
        return self.events

    async def answer_when(self, request: web.Request) -> web.Response:
        """Answer once a path was asked for so many times."""
        path, times = "/" + request.match_info["path"], int(request.match_info["times"])
        async with self.changed:
            await self.changed.wait_for(lambda: self.asked.count(path) >= times)
        return web.Response()

    async def until(self, names: list[str]) -> list[Event]:
        """Wait until as many events arrived, give them, and fail if they are others."""
        async with asyncio.timeout(60), self.changed:
            await self.changed.wait_for(lambda: len(self.events) >= len(names))
        assert [event["name"] for event in self.events] == names
        return self.events


@pytest_asyncio.fixture(loop_scope="session")
async def place() -> AsyncIterator[Place]:
    """A fresh site on a free port of its own."""
    place = Place()
    app = web.Application()
    app.add_routes(
        [
            web.get("/script.js", place.serve_script),
            web.get("/when/{times}/{path:.*}", place.answer_when),
            web.post("/v1/events", place.receive),
            web.get("/{path:.*}", place.show),
        ]
    )
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    place.url = f"http://{host}:{port}"
    place.add_page("/favicon.ico")
    yield place
    await runner.cleanup()
