"""Custom events and identified visitors, in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.ingest.tracker.conftest import SNIPPET, STUB

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext

    from tests.ingest.tracker.conftest import Place

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_custom_event_carries_its_options(context: BrowserContext, place: Place) -> None:
    page = await context.new_page()
    await page.goto(place.add_page("/a"))
    await page.evaluate("""pulse("Order", {
        props: {size: "L", count: 2, gift: true}, revenue: {amount: 9.5, currency: "EUR"}, interactive: false})""")
    [_, event] = await place.until(["pageview", "Order"])
    assert event["props"] == {"size": "L", "count": 2, "gift": True}
    assert event["revenue"] == {"amount": 9.5, "currency": "EUR"}
    assert event["interactive"] is False
    assert event["url"] == f"{place.url}/a"


async def test_a_bare_custom_event_leaves_its_options_out(context: BrowserContext, place: Place) -> None:
    page = await context.new_page()
    await page.goto(place.add_page("/a"))
    await page.evaluate("pulse('Signup')")
    [_, event] = await place.until(["pageview", "Signup"])
    assert not {"props", "revenue", "interactive", "user_id", "referrer"} & event.keys()


async def test_events_before_the_script_has_loaded_follow_the_view_in_one_request(
    context: BrowserContext, place: Place
) -> None:
    page = await context.new_page()
    calls = "<script>pulse('First', {props: {n: 1}}); pulse('identify', 'u1'); pulse('Second')</script>"
    await page.goto(place.add_page("/a", head=STUB + calls + SNIPPET))
    came = await place.until_came("Second")
    events = [event for event in came if event["name"] != "engagement"]  # a machine that is busy takes long enough
    assert len(place.posts) == 1
    assert [event["name"] for event in events] == ["pageview", "First", "Second"]
    assert [event.get("user_id") for event in events] == [None, None, "u1"]
    assert events[1]["props"] == {"n": 1}


async def test_every_event_has_an_id_of_its_own_and_ids_rise_with_time(context: BrowserContext, place: Place) -> None:
    page = await context.new_page()
    await page.goto(place.add_page("/a"))
    await place.until(["pageview"])
    await page.evaluate("for (let i = 0; i < 50; i++) pulse('n' + i)")
    events = await place.until(["pageview", *(f"n{i}" for i in range(50))])
    ids = [str(event["event_id"]) for event in events]
    assert len(set(ids)) == 51
    times = [id_[:13] for id_ in ids]
    assert times == sorted(times)


async def test_identify_holds_from_then_on_and_engagement_stays_with_who_viewed(
    context: BrowserContext, place: Place
) -> None:
    page = await context.new_page()
    await page.clock.install()
    await page.goto(place.add_page("/a", head=SNIPPET.replace("data-local", "data-local data-user-id=first")))
    await page.clock.fast_forward(2_000)
    await page.evaluate("pulse.identify('second')")
    await page.evaluate("pulse('a')")
    await page.evaluate("pulse.identify(null)")
    await page.evaluate("pulse('b')")
    events = await place.until_came("b")
    users = [(event["name"], event.get("user_id")) for event in events]
    assert users[:3] == [("pageview", "first"), ("engagement", "first"), ("a", "second")]
    assert users[-1] == ("b", None)
    assert {user for name, user in users if name == "engagement"} == {"first"}


async def test_what_cannot_be_sent_as_json_never_throws_into_the_page(context: BrowserContext, place: Place) -> None:
    page = await context.new_page()
    errors: list[object] = []
    page.on("pageerror", lambda error: errors.append(error))  # noqa: PLW0108 - a builtin cannot be wrapped
    await page.goto(place.add_page("/a"))
    await page.evaluate("const ring = {}; ring.ring = ring; pulse('Ring', {props: ring})")
    await page.evaluate("pulse('Big', {props: {n: 10n}}); pulse(Symbol('x')); pulse(); pulse('Null', null)")
    await page.evaluate("pulse('end')")
    events = await place.until_came("end")
    assert not errors
    assert [event["name"] for event in events if event["name"] in {"Ring", "Big"}] == []
