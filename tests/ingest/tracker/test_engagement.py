"""Time and scroll of a view, in a real browser with a clock that the test moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.ingest.tracker.conftest import HIDE

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Page

    from tests.ingest.tracker.conftest import Event, Place

pytestmark = pytest.mark.asyncio(loop_scope="session")

TALL = '<div style="height: 4000px">long</div>'


async def open_page(context: BrowserContext, place: Place, body: str = "") -> Page:
    """A counted page whose clock moves only by hand."""
    page = await context.new_page()
    await page.clock.install(time=1_800_000_000)
    await page.goto(place.add_page("/a", body))
    await place.until(["pageview"])
    await page.clock.pause_at(1_800_000_100)
    await page.evaluate("history.replaceState({}, '', '/start')")  # a view that begins at a known instant
    return page


async def told(place: Place, page: Page) -> list[Event]:
    """What was told of the view /start."""
    await page.evaluate("pulse('end')")
    await page.clock.run_for(10)
    events = await place.until_came("end")
    return [event for event in events if event["name"] == "engagement" and str(event["url"]).endswith("/start")]


async def test_the_time_until_the_next_view_belongs_to_the_view_before(context: BrowserContext, place: Place) -> None:
    page = await open_page(context, place)
    await page.clock.run_for(7_000)
    await page.evaluate("history.pushState({}, '', '/next')")
    [event] = await told(place, page)
    assert event["engaged_ms"] == 7_000
    assert event["url"] == f"{place.url}/start"


async def test_time_does_not_count_while_the_page_is_hidden(context: BrowserContext, place: Place) -> None:
    page = await open_page(context, place)
    await page.clock.run_for(3_000)
    await page.evaluate(HIDE, "hidden")
    await page.clock.run_for(20_000)
    await page.evaluate(HIDE, "visible")
    await page.clock.run_for(4_000)
    await page.evaluate(HIDE, "hidden")
    assert [event["engaged_ms"] for event in await told(place, page)] == [3_000, 4_000]


async def test_time_does_not_count_while_another_window_has_the_focus(context: BrowserContext, place: Place) -> None:
    page = await open_page(context, place)
    devtools = await context.new_cdp_session(page)
    await page.clock.run_for(3_000)
    await devtools.send("Emulation.setFocusEmulationEnabled", {"enabled": False})
    other = await context.new_page()
    await other.bring_to_front()
    await page.wait_for_function("!document.hasFocus()", polling=50)
    await page.clock.run_for(20_000)
    await page.bring_to_front()
    await page.wait_for_function("document.hasFocus()", polling=50)
    await page.clock.run_for(4_000)
    await page.evaluate("history.pushState({}, '', '/next')")
    [event] = await told(place, page)
    assert event["engaged_ms"] == pytest.approx(7_000, abs=300)


async def test_a_page_left_alone_counts_a_minute(context: BrowserContext, place: Place) -> None:
    page = await open_page(context, place)
    await page.clock.fast_forward(30_000)
    await page.mouse.move(100, 100)
    await page.clock.fast_forward(3_600_000)
    await page.mouse.move(200, 200)
    await page.clock.fast_forward(5_000)
    await page.evaluate("history.pushState({}, '', '/next')")
    [event] = await told(place, page)
    assert event["engaged_ms"] == 95_000


async def test_a_long_read_is_told_meanwhile_so_that_its_session_stays_open(
    context: BrowserContext, place: Place
) -> None:
    page = await open_page(context, place)
    for step in range(50):
        await page.clock.fast_forward(50_000)
        await page.mouse.move(100 + step, 100)
    await page.evaluate("history.pushState({}, '', '/next')")
    events = await told(place, page)
    assert [event["engaged_ms"] for event in events] == [600_000, 600_000, 600_000, 600_000, 100_000]


async def test_scroll_depth_is_the_deepest_place_seen(context: BrowserContext, place: Place) -> None:
    page = await open_page(context, place, TALL)
    await page.clock.run_for(1_000)
    async with page.expect_event("console", lambda message: message.text == "scrolled"):
        await page.evaluate("addEventListener('scroll', () => console.log('scrolled')); scrollTo(0, 1200)")
    await page.evaluate("scrollTo(0, 0)")
    await page.evaluate("history.pushState({}, '', '/next')")
    [event] = await told(place, page)
    height = await page.evaluate("document.documentElement.scrollHeight")
    assert event["scroll_depth"] == round((1200 + 800) / height * 100)


async def test_a_page_that_fits_the_window_is_seen_wholly(context: BrowserContext, place: Place) -> None:
    page = await open_page(context, place)
    await page.clock.run_for(1_000)
    await page.evaluate("history.pushState({}, '', '/next')")
    [event] = await told(place, page)
    assert event["scroll_depth"] == 100


async def test_closing_the_page_tells_the_rest(context: BrowserContext, place: Place) -> None:
    page = await open_page(context, place)
    await page.clock.run_for(2_500)
    await page.close(run_before_unload=True)
    events = await place.until_came("engagement", 2)  # the first one is of /a
    assert [
        event["engaged_ms"] for event in events if str(event["url"]).endswith("/start") and "engaged_ms" in event
    ] == [2_500]
