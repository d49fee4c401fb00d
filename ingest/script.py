"""The tracker as it is served: bytes made once, with an ETag."""

from __future__ import annotations

import gzip
import hashlib
from typing import TYPE_CHECKING

from ingest.answers import Sent

if TYPE_CHECKING:
    from aiohttp import web

    from ingest.answers import Answers

MAX_AGE = 3600  # seconds that a page may use it without asking; a new version is everywhere after that


class Script:
    """GET and HEAD of the tracker."""

    def __init__(self, source: bytes, answers: Answers) -> None:
        self._source = source
        self._packed = gzip.compress(source, mtime=0)
        self._etag = f'"{hashlib.sha256(source).hexdigest()[:32]}"'
        self._answers = answers
        self._headers = (
            "Content-Type: text/javascript; charset=utf-8\r\n"
            f"Cache-Control: public, max-age={MAX_AGE}, stale-while-revalidate=86400\r\n"
            "Cross-Origin-Resource-Policy: cross-origin\r\nX-Content-Type-Options: nosniff\r\n"
            f"Vary: Accept-Encoding\r\nETag: {self._etag}\r\n"
        )

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Give the script, or 304 to who has it."""
        known = request.headers.get("If-None-Match", "")
        if known == "*" or self._etag in known:
            return Sent(self._answers.make(304, self._headers, b""))
        takes_gzip = "gzip" in request.headers.get("Accept-Encoding", "")
        headers = self._headers + ("Content-Encoding: gzip\r\n" if takes_gzip else "")
        return Sent(self._answers.make(200, headers, self._packed if takes_gzip else self._source))
