"""A real Chromium for tests. Import `browser` and `context` into a conftest, and run the tests in the session's loop.

`pytestmark = pytest.mark.asyncio(loop_scope="session")` does that for a module.
"""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest_asyncio
from playwright.async_api import async_playwright

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Browser, BrowserContext

NAMES = ("chromium", "chromium-browser", "google-chrome")
# Headless Chromium's own name counts as a bot, rightly. A flag holds for what a page sends as it goes, too.
PERSON = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
# Runs as root in a container, and calls nobody on its own.
FLAGS = (
    f"--user-agent={PERSON}",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_chromium() -> str | None:
    """The Chromium of the PATH; None leaves it to Playwright's own."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@asynccontextmanager
async def chromium_alone(url: str, profile: Path) -> AsyncIterator[None]:
    """Chromium showing `url` with nobody at its controls: Playwright never lets a prerendered page run."""
    async with async_playwright() as playwright:
        command = find_chromium() or playwright.chromium.executable_path
    words = (*FLAGS, "--headless", "--remote-debugging-port=0", f"--user-data-dir={profile}", url)
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(command, *words, stdout=quiet, stderr=quiet)
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One Chromium for the whole run, with the back/forward cache that people's browsers have."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=find_chromium(), args=list(FLAGS), ignore_default_args=["--disable-back-forward-cache"]
        )
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A visitor of their own: no storage, no cache."""
    context = await browser.new_context(viewport={"width": 1000, "height": 800}, locale="de-AT")
    yield context
    await context.close()
