"""How events travel: a retry with the same id, a beacon when the page goes, nothing kept on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.ingest.tracker.conftest import HIDE, SNIPPET

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext

    from tests.ingest.tracker.conftest import Place

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_what_the_server_could_not_take_comes_again_with_the_same_id(
    context: BrowserContext, place: Place, status: int
) -> None:
    place.answers = [status, status]
    page = await context.new_page()
    await page.clock.install()
    await page.goto(place.add_page("/a"))
    await place.until(["pageview"])
    async with page.expect_response("**/v1/events") as second:
        await page.clock.fast_forward(2_000)
    assert (await second.value).status == status
    await page.clock.fast_forward(4_000)
    events = await place.until(["pageview"] * 3)
    assert len({event["event_id"] for event in events}) == 1
    assert len({event["timestamp"] for event in events}) == 1
    assert [event["attempt"] for event in events] == [1, 2, 3]
    sent = [int(str(event["sent_at"])) for event in events]
    assert sent[0] + 900 < sent[1] < sent[2]


async def test_what_met_no_network_comes_again(context: BrowserContext, place: Place) -> None:
    page = await context.new_page()
    await page.clock.install()
    await page.goto(place.add_page("/a"))
    await place.until(["pageview"])
    await context.set_offline(offline=True)
    async with page.expect_event("requestfailed"):
        await page.evaluate("pulse('Lost')")
    await context.set_offline(offline=False)
    await page.clock.fast_forward(2_000)
    [_, event] = await place.until(["pageview", "Lost"])
    assert event["attempt"] == 2


async def test_what_the_server_refuses_is_not_sent_again_and_the_console_says_why_once(
    context: BrowserContext, place: Place
) -> None:
    place.answers = [400, 400]
    page = await context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.text.startswith("Pulse") else None)
    await page.clock.install()
    await page.goto(place.add_page("/a"))
    await place.until(["pageview"])
    async with page.expect_response("**/v1/events"):
        await page.evaluate("pulse('Other')")
    await page.clock.fast_forward(3_600_000)
    await page.evaluate("pulse('end')")
    events = await place.until_came("end")
    assert [event["name"] for event in events if event["name"] != "engagement"] == ["pageview", "Other", "end"]
    assert said == ["Pulse does not count: answer 400"]


async def test_events_that_wait_leave_with_the_page(context: BrowserContext, place: Place) -> None:
    place.answers = [503]
    place.add_page("/b", head="")
    page = await context.new_page()
    async with page.expect_response("**/v1/events"):  # the page knows of the 503 before it goes
        await page.goto(place.add_page("/a"))
    await page.evaluate("addEventListener('pagehide', () => pulse('Leaving'), {capture: true})")
    await page.goto(f"{place.url}/b")
    events = await place.until_came("Leaving")
    assert sorted((str(event["name"]), event["attempt"]) for event in events if event["name"] != "engagement") == [
        ("Leaving", 1),
        ("pageview", 1),
        ("pageview", 2),
    ]


async def test_after_twelve_sends_an_event_is_given_up(context: BrowserContext, place: Place) -> None:
    place.answers = [503] * 12
    page = await context.new_page()
    await page.clock.install()
    async with page.expect_response("**/v1/events"):
        await page.goto(place.add_page("/a"))
    for _ in range(11):
        async with page.expect_response("**/v1/events"):
            await page.clock.fast_forward(600_000)
    await page.clock.fast_forward(600_000)
    await page.evaluate("pulse('end')")
    events = await place.until_came("end")
    assert [event["attempt"] for event in events if event["name"] == "pageview"] == list(range(1, 13))


async def test_an_outage_keeps_the_last_99_events(context: BrowserContext, place: Place) -> None:
    place.answers = [503]
    place.add_page("/b", head="")
    page = await context.new_page()
    async with page.expect_response("**/v1/events"):
        await page.goto(place.add_page("/a"))
    await page.evaluate("for (let i = 0; i < 150; i++) pulse('n' + i)")
    await page.goto(f"{place.url}/b")
    events = await place.until_came("n149")
    kept = [str(event["name"]) for event in events if str(event["name"]).startswith("n")]
    assert kept[-98:] == [f"n{i}" for i in range(52, 150)]
    assert len(kept) in {98, 99}  # the time spent on the page may take one place


async def test_what_is_sent_from_a_hidden_page_is_sent_again_too(context: BrowserContext, place: Place) -> None:
    page = await context.new_page()
    await page.clock.install()
    await page.goto(place.add_page("/a"))
    await place.until(["pageview"])
    place.answers = [503]
    async with page.expect_response("**/v1/events"):
        await page.evaluate(f"pulse('Hidden'); ({HIDE})('hidden')")
    await page.clock.fast_forward(2_000)
    events = await place.until_came("Hidden", 2)
    assert [event["attempt"] for event in events if event["name"] == "Hidden"] == [1, 2]


async def test_an_address_that_is_too_long_is_cut(context: BrowserContext, place: Place) -> None:
    page = await context.new_page()
    await page.goto(place.add_page("/a") + "?utm_source=x&token=" + "t" * 3_000)
    [event] = await place.until(["pageview"])
    assert str(event["url"]).startswith(f"{place.url}/a?utm_source=x&token=tt")
    assert len(str(event["url"])) == 2_048


async def test_nothing_is_kept_on_the_device(context: BrowserContext, place: Place) -> None:
    place.answers = [503]
    page = await context.new_page()
    await page.goto(place.add_page("/a"))
    await place.until(["pageview"])
    kept = await page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]")
    databases = await page.evaluate("indexedDB.databases()")
    assert (kept, databases, await context.cookies()) == ([0, 0, ""], [], [])


async def test_data_api_names_another_collector(context: BrowserContext, place: Place) -> None:
    page = await context.new_page()
    await page.route("https://elsewhere.example/*", lambda route: route.fulfill(status=202))
    head = SNIPPET.replace("data-local", 'data-local data-api="https://elsewhere.example/in"')
    async with page.expect_request("https://elsewhere.example/in") as request:
        await page.goto(place.add_page("/a", head=head))
    assert (await request.value).method == "POST"
    assert place.posts == []


async def test_a_page_that_forbids_the_collector_is_left_in_peace(context: BrowserContext, place: Place) -> None:
    errors: list[object] = []
    place.headers["/a"] = {"Content-Security-Policy": "connect-src 'none'"}
    page = await context.new_page()
    page.on("pageerror", lambda error: errors.append(error))  # noqa: PLW0108 - a builtin cannot be wrapped
    async with page.expect_console_message(lambda message: "Content Security Policy" in message.text):
        await page.goto(place.add_page("/a"))
    await page.evaluate("pulse('Click')")
    assert errors == []
    assert place.posts == []
