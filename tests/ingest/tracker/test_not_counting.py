"""A tracker that does not count says why, once, in the console."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.ingest.tracker.conftest import SNIPPET

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.async_api import Browser, BrowserContext

    from tests.ingest.tracker.conftest import Place

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOCAL = "Pulse does not count: this is a local page (data-local on the script tag counts it)"


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (SNIPPET.replace(" data-local", ""), LOCAL),
        (
            SNIPPET.replace('data-site-key="sk_live_test"', ""),
            "Pulse does not count: the script tag has no data-site-key",
        ),
        (
            "<script>localStorage.pulse_ignore = 'true'</script>" + SNIPPET,
            "Pulse does not count: localStorage.pulse_ignore asks for it",
        ),
    ],
)
async def test_the_reason_is_told_once(context: BrowserContext, place: Place, head: str, reason: str) -> None:
    said: list[str] = []
    asked: list[str] = []
    page = await context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: asked.append(request.method))
    await page.goto(place.add_page("/a", head=head))
    await page.evaluate("pulse('Click', {props: {a: 1}}); pulse.identify('u'); history.pushState({}, '', '/b')")
    await page.evaluate("new Promise(resolve => setTimeout(resolve))")  # what was to be sent is on its way by now
    assert said == [reason]
    assert set(asked) == {"GET"}


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("localhost", False),
        ("app.localhost", False),
        ("127.0.0.2", False),
        ("[::1]", False),
        ("0.0.0.0", False),  # noqa: S104 - an address to visit, not to bind
        ("localhost.example.org", True),
        ("mylocalhost", True),
        ("192.168.1.10", True),
        ("www.example.org", True),
    ],
)
async def test_local_hosts_do_not_count(browser: Browser, place: Place, host: str, *, counted: bool) -> None:
    place.add_page("/a", head=SNIPPET.replace(" data-local", ""))
    context = await browser.new_context(proxy={"server": place.url, "bypass": "<-loopback>"})
    page = await context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    await page.goto(f"http://{host}/a")
    if counted:
        await place.until(["pageview"])
    assert said == ([] if counted else [LOCAL])
    await context.close()


async def test_a_page_opened_from_disk_does_not_count(context: BrowserContext, place: Place, tmp_path: Path) -> None:
    file = tmp_path / "a.html"
    file.write_text(SNIPPET.replace('src="', f'src="{place.url}').replace(" data-local", ""))
    page = await context.new_page()
    async with page.expect_console_message(lambda message: message.text == LOCAL):
        await page.goto(file.as_uri())
    assert place.posts == []


async def test_a_page_without_storage_counts(context: BrowserContext, place: Place) -> None:
    inner = place.add_page("/inner")
    page = await context.new_page()
    await page.goto(place.add_page("/a", f'<iframe sandbox="allow-scripts" src="{inner}"></iframe>', head=""))
    [event] = await place.until(["pageview"])
    assert event["url"] == inner
    with pytest.raises(Exception, match="sandboxed"):
        await page.frames[1].evaluate("localStorage.length")


async def test_a_script_that_cannot_find_its_tag_says_so(context: BrowserContext, place: Place) -> None:
    page = await context.new_page()
    async with page.expect_console_message() as said:
        await page.goto(place.add_page("/a", head='<script type="module">import "/script.js"</script>'))
    assert (await said.value).text == "Pulse does not count: the script tag has no data-site-key"


async def test_opting_out_holds_at_once(context: BrowserContext, place: Place) -> None:
    page = await context.new_page()
    await page.goto(place.add_page("/a"))
    await place.until(["pageview"])
    await page.evaluate("localStorage.pulse_ignore = 'true'; pulse('Hidden')")
    await page.evaluate("localStorage.removeItem('pulse_ignore'); pulse('Shown')")
    await place.until(["pageview", "Shown"])
