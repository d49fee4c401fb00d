"""What the tracker counts as a view, in a real browser."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.browser import chromium_alone
from tests.ingest.tracker.conftest import SNIPPET, STUB

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.async_api import BrowserContext

    from tests.ingest.tracker.conftest import Place

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_loaded_page_is_one_view_with_what_the_browser_knows(context: BrowserContext, place: Place) -> None:
    page = await context.new_page()
    await page.goto(place.add_page("/a"), referer="https://www.google.com/")
    [event] = await place.until(["pageview"])
    sent_at, timestamp = event.pop("sent_at"), event.pop("timestamp")
    assert isinstance(sent_at, int)
    assert isinstance(timestamp, int)
    assert 0 <= sent_at - timestamp < 60_000
    id_ = uuid.UUID(str(event.pop("event_id")))
    assert (id_.version, id_.variant) == (7, uuid.RFC_4122)
    assert abs((id_.int >> 80) - timestamp) < 10_000
    assert event == {
        "site_key": "sk_live_test",
        "name": "pageview",
        "url": f"{place.url}/a",
        "referrer": "https://www.google.com/",
        "title": "Page /a",
        "language": "de-AT",
        "timezone": await page.evaluate("Intl.DateTimeFormat().resolvedOptions().timeZone"),
        "screen_width": 1000,
        "attempt": 1,
    }


async def test_each_address_of_the_history_is_one_view_referred_by_the_one_before(
    context: BrowserContext, place: Place
) -> None:
    page = await context.new_page()
    await page.goto(place.add_page("/a"))
    await page.evaluate("history.pushState({}, '', '/b?page=1')")
    await page.evaluate("history.pushState({}, '', '/b?page=2')")
    await page.evaluate("history.replaceState({}, '', '/c')")
    await page.evaluate("history.back()")
    await page.wait_for_url("**/b?page=1")
    events = [event for event in await place.until_came("pageview", 5) if event["name"] == "pageview"]
    addresses = [place.url + path for path in ("/a", "/b?page=1", "/b?page=2", "/c", "/b?page=1")]
    assert [event["url"] for event in events] == addresses
    assert [event["referrer"] for event in events] == ["", *addresses[:-1]]


async def test_a_state_that_shows_nothing_new_is_no_view(context: BrowserContext, place: Place) -> None:
    page = await context.new_page()
    await page.goto(place.add_page("/a"))
    await page.evaluate("history.pushState({}, '', '/a')")
    await page.evaluate("history.pushState({}, '', '/a#part')")
    await page.evaluate("history.replaceState({}, '', '/a?typing=w')")
    await page.evaluate("history.pushState({}, '', '/a?typing=w')")
    await page.evaluate("location.hash = 'other'")
    await page.evaluate("pulse('end')")
    await place.until(["pageview", "end"])


async def test_with_data_hash_the_fragment_is_part_of_the_path(context: BrowserContext, place: Place) -> None:
    page = await context.new_page()
    head = SNIPPET.replace("data-local", "data-local data-hash")
    await page.goto(place.add_page("/app/", head=head) + "?x=1#!/first")
    await page.evaluate("location.hash = '/second'")
    events = [event for event in await place.until_came("pageview", 2) if event["name"] == "pageview"]
    assert [event["url"] for event in events] == [f"{place.url}/app/first?x=1", f"{place.url}/app/second?x=1"]


async def test_a_tracker_loaded_twice_counts_once(context: BrowserContext, place: Place) -> None:
    page = await context.new_page()
    await page.goto(place.add_page("/a", head=SNIPPET * 2))
    await page.evaluate("history.pushState({}, '', '/b')")
    await page.evaluate("pulse('end')")
    events = await place.until_came("end")
    assert [event["name"] for event in events if event["name"] != "engagement"] == ["pageview", "pageview", "end"]


async def test_a_prerendered_page_counts_when_it_is_shown(place: Place, tmp_path: Path) -> None:
    rules = {"prerender": [{"source": "list", "urls": ["/b"], "eagerness": "immediate"}]}
    go = "<script>fetch('/when/2/script.js').then(() => pulse('going')).then(() => location = '/b')</script>"
    place.add_page("/a", f'<script type="speculationrules">{json.dumps(rules)}</script>{go}')
    place.add_page(
        "/b", head=f"{STUB}<script>pulse('was', {{props: {{hidden: document.prerendering}}}})</script>{SNIPPET}"
    )
    async with chromium_alone(f"{place.url}/a", tmp_path):
        events = await place.until_came("was")
    shown = [(event["name"], event["url"]) for event in events if event["name"] != "engagement"]
    assert shown == [
        ("pageview", f"{place.url}/a"),
        ("going", f"{place.url}/a"),
        ("pageview", f"{place.url}/b"),
        ("was", f"{place.url}/b"),
    ]
    assert events[-1]["props"] == {"hidden": True}


async def test_a_page_that_comes_back_from_the_cache_is_viewed_again(place: Place, tmp_path: Path) -> None:
    tell = "addEventListener('load', () => addEventListener('pageshow', shown => shown.persisted && pulse('back')))"
    place.add_page("/a", f"<script>{tell};fetch('/when/1/v1/events').then(() => location = '/b')</script>")
    place.add_page("/b", "<script>fetch('/when/2/v1/events').then(() => history.back())</script>")
    async with chromium_alone(f"{place.url}/a", tmp_path):
        events = await place.until_came("back")
    shown = [(event["name"], event["url"]) for event in events if event["name"] != "engagement"]
    paths = [("pageview", "/a"), ("pageview", "/b"), ("pageview", "/a"), ("back", "/a")]
    assert shown == [(name, place.url + path) for name, path in paths]
