"""The browsable documentation: packaged files only, nothing from outside."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from aiohttp import web

from query_api.errors import NotFoundError, UnavailableError

FOLDER = Path(str(resources.files("query_api"))) / "docs"
FILES = {
    "": FOLDER / "index.html",
    "start.js": FOLDER / "start.js",
    "swagger-ui.css": FOLDER / "dist/swagger-ui.css",
    "swagger-ui-bundle.js": FOLDER / "dist/swagger-ui-bundle.js",
    "favicon-32x32.png": FOLDER / "dist/favicon-32x32.png",
}
HEADERS = {
    "Cache-Control": "no-cache",  # asked again each time; the ETag makes that cheap
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:",
    "X-Content-Type-Options": "nosniff",
}


async def show_docs(request: web.Request) -> web.StreamResponse:
    """The page or one of its files."""
    path = FILES.get(request.match_info.get("name", ""))
    if path is None:
        message = f"There is nothing at {request.path}: the documentation is at /docs"
        raise NotFoundError(message)
    if not path.is_file():
        message = "The documentation's files are not built: run scripts/build and restart"
        raise UnavailableError(message)
    return web.FileResponse(path, headers=HEADERS)


def add_docs(app: web.Application) -> None:
    """Mount `/docs` and what it loads."""
    app.router.add_get("/docs", show_docs)
    app.router.add_get("/docs/{name}", show_docs)
