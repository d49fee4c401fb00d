"""The tracker as it is served at /script.js: built by hatch_build.py from `source/`."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Mapping

# The address carries no version, so a browser asks again after an hour, in the background, and mostly hears 304.
HEADERS: Mapping[str, str] = {
    "Content-Type": "text/javascript; charset=utf-8",
    "Cache-Control": "public, max-age=3600, stale-while-revalidate=86400",
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept-Encoding",
}


@dataclass(frozen=True, slots=True)
class Script:
    """The built script, plain and packed, and the weak ETag that both share."""

    body: bytes
    packed: bytes
    etag: str

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer a GET or HEAD of the script: 304 to whom has it, packed to whom can unpack it."""
        headers = {**HEADERS, "ETag": self.etag}
        if self.etag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        if "gzip" not in request.headers.get("Accept-Encoding", ""):
            return web.Response(body=self.body, headers=headers)
        return web.Response(body=self.packed, headers={**headers, "Content-Encoding": "gzip"})


def read_script() -> Script:
    """Read what was built; FileNotFoundError says how to build it."""
    path = resources.files("ingest.tracker") / "dist" / "script.js"
    if not path.is_file():
        message = "the tracker is not built: run scripts/build"
        raise FileNotFoundError(message)
    body = path.read_bytes()
    return Script(body, gzip.compress(body, 9, mtime=0), f'W/"{hashlib.sha256(body).hexdigest()[:16]}"')
