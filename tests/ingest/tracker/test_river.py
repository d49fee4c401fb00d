"""From a real browser through the real server to the numbers, and the demo that shows it."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import pytest
import pytest_asyncio
from playwright.async_api import expect

from query_api.control.keys import KeyDraft, create_key
from query_api.control.sites import SiteDraft, create_site
from schemas.control.connect import open_control
from tests.product import Product

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from playwright.async_api import Browser, BrowserContext, Page, Route
    from sqlalchemy.ext.asyncio import AsyncEngine

    from query_api.control.sites import SitePair
    from tests.ingest.tracker.conftest import Place

pytestmark = pytest.mark.asyncio(loop_scope="session")

expect.set_options(timeout=20_000)  # two cores may be busy with other things
LOOKS = 70  # in about 100 seconds: a key may ask a hundred times a minute
PROJECT = 1  # the one of the first start
Row = dict[str, object]


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """One server for all tests of this module; each makes its own site."""
    with Product(tmp_path_factory.mktemp("product")) as product:
        yield product


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def key(product: Product) -> str:
    """A key of the query API."""
    return await add_key(product, KeyDraft())


@asynccontextmanager
async def project_of(product: Product) -> AsyncIterator[AsyncEngine]:
    """The control plane, written as the command line does while the server runs."""
    engine = open_control(f"sqlite:///{product.folder / 'data/control.db'}")
    yield engine
    await engine.dispose()


async def add_site(product: Product, domain: str) -> SitePair:
    """Make a site in the first project."""
    async with project_of(product) as engine:
        return await create_site(engine, PROJECT, SiteDraft(domain), datetime.now(UTC))


async def add_key(product: Product, draft: KeyDraft) -> str:
    """Make a key in the first project."""
    async with project_of(product) as engine:
        return (await create_key(engine, PROJECT, draft, datetime.now(UTC))).text


def to_head(product: Product, site_key: str) -> str:
    """The snippet as it is printed."""
    return f'<script defer src="{product.base}/script.js" data-site-key="{site_key}" data-local></script>'


async def ask(product: Product, path: str, key: str) -> list[Row]:
    """The rows of an answer."""
    answer = await asyncio.to_thread(product.get_json, path, key)
    return cast("list[Row]", answer["data"])


async def until(product: Product, path: str, key: str, expected: Row, *, more: str = "") -> list[Row]:
    """Ask until the first row holds what is expected, and a value for `more`; fail at last with what it holds."""
    rows: list[Row] = []
    for number in range(LOOKS):
        rows = await ask(product, path, key)
        if rows and expected.items() <= rows[0].items() and (not more or rows[0][more]):
            return rows
        await asyncio.sleep(min(0.05 * (number + 1), 2.0))  # another process counts; it tells nobody when it is done
    pytest.fail(f"{path}: expected {expected}, got {rows[:3]}")


async def test_what_a_person_does_is_what_the_reports_say(
    product: Product, key: str, place: Place, context: BrowserContext
) -> None:
    head = to_head(product, (await add_site(product, "river.example")).live.site_key)
    page = await context.new_page()
    place.add_page("/c", head=head)
    await page.goto(place.add_page("/a", '<a href="/c">c</a>', head=head), referer="https://www.google.com/")
    async with page.expect_response("**/v1/events") as answer:
        await page.evaluate("history.pushState({}, '', '/b?utm_source=x')")
    assert (await answer.value).status == 202
    await page.evaluate("pulse('Order', {props: {size: 'L'}, revenue: {amount: 9.5, currency: 'EUR'}})")
    await page.click("a")
    site = "site=river.example&period=today"
    stats = await until(product, f"/v1/stats?{site}", key, {"pageviews": 3, "events": 4})
    assert (stats[0]["visitors"], stats[0]["sessions"], stats[0]["bounce_rate"]) == (1, 1, 0)
    pages = await ask(product, f"/v1/pages?{site}", key)
    assert [(row["pathname"], row["pageviews"], row["entries"]) for row in pages] == [
        ("/a", 1, 1),
        ("/b", 1, 0),
        ("/c", 1, 0),
    ]
    events = await ask(product, f"/v1/events?{site}&filters=props.size==L", key)
    assert [(row["event_name"], row["total"]) for row in events] == [("Order", 1)]
    assert [row["referrer_source"] for row in await ask(product, f"/v1/referrers?{site}", key)] == ["Google"]


async def test_time_and_scroll_of_a_view_reach_its_page(
    product: Product, key: str, place: Place, context: BrowserContext
) -> None:
    page = await context.new_page()
    body = '<div style="height: 1600px"></div>'
    site = await add_site(product, "engaged.example")
    await page.goto(place.add_page("/a", body, head=to_head(product, site.live.site_key)))
    await page.wait_for_function("performance.now() > 400")
    await page.close(run_before_unload=True)
    question = "/v1/pages?site=engaged.example&period=today"
    [row] = await until(product, question, key, {"pathname": "/a"}, more="avg_duration")
    assert 0.1 <= float(str(row["avg_duration"])) <= 60
    assert 45 <= float(str(row["scroll_depth"])) <= 55


async def test_an_event_whose_answer_was_lost_is_sent_again_and_counts_once(
    product: Product, key: str, place: Place, context: BrowserContext
) -> None:
    lost: list[str] = []

    async def lose_first(route: Route) -> None:
        if lost:
            await route.continue_()
            return
        lost.append(route.request.post_data or "")
        await route.fetch()  # the server has it, the page never hears of it
        await route.abort()

    page = await context.new_page()
    await page.route("**/v1/events", lose_first)
    site = await add_site(product, "lost.example")
    async with page.expect_response("**/v1/events") as second:
        await page.goto(place.add_page("/a", head=to_head(product, site.live.site_key)))
    assert '"attempt":2' in str((await second.value).request.post_data)
    assert '"attempt":1' in lost[0]
    rows = await until(product, "/v1/ledger?site=lost.example&period=today", key, {"received": 2, "in_flight": 0})
    assert (rows[0]["stored"], rows[0]["duplicate"]) == (1, 1)
    [stats] = await ask(product, "/v1/stats?site=lost.example&period=today", key)
    assert stats["pageviews"] == 1


async def test_a_site_key_that_is_none_is_told_in_the_console(
    product: Product, place: Place, context: BrowserContext
) -> None:
    page = await context.new_page()
    head = to_head(product, "sk_live_none")
    async with page.expect_console_message(lambda message: message.text.startswith("Pulse does not count")) as said:
        await page.goto(place.add_page("/a", head=head))
    assert "site" in (await said.value).text


async def test_the_sandbox_counts_apart(product: Product, key: str, place: Place, context: BrowserContext) -> None:
    page = await context.new_page()
    site = await add_site(product, "sandbox.example")
    test_key = await add_key(product, KeyDraft(sandbox=True))
    await page.goto(place.add_page("/a", head=to_head(product, site.sandbox.site_key)))
    await until(product, "/v1/stats?site=sandbox.example&period=today", test_key, {"pageviews": 1})
    [live] = await ask(product, "/v1/stats?site=sandbox.example&period=today", key)
    assert live["pageviews"] == 0


async def watch(page: Page, figure: str, number: str) -> None:
    """Wait until the demo shows a number."""
    await expect(page.locator(f"[data-number={figure}]")).to_have_text(number)


async def test_what_is_told_as_a_page_goes_comes_from_the_same_visitor(
    product: Product, key: str, place: Place, context: BrowserContext
) -> None:
    site = await add_site(product, "leaving.example")
    place.add_page("/b", head="")
    page = await context.new_page()
    await page.goto(place.add_page("/a", head=to_head(product, site.live.site_key)))
    await page.wait_for_function("performance.now() > 400")
    await page.goto(f"{place.url}/b")
    ledger = "/v1/ledger?site=leaving.example&period=today"
    await until(product, ledger, key, {"received": 2, "stored": 2, "bots": 0})
    [row] = await ask(product, "/v1/pages?site=leaving.example&period=today", key)
    assert float(str(row["avg_duration"])) > 0


async def test_the_demo_shows_what_is_clicked(product: Product, context: BrowserContext) -> None:
    page = await context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    await page.goto(f"{product.base}/demo/")
    await watch(page, "pageviews", "1")
    await page.get_by_role("link", name="Prices").click()
    await expect(page.get_by_role("heading", name="Prices")).to_be_visible()
    await watch(page, "pageviews", "2")
    await page.get_by_role("button", name="Order").click()
    await expect(page.locator("#events")).to_contain_text("Order")
    await page.get_by_role("link", name="Second page").click()
    await watch(page, "pageviews", "3")
    await watch(page, "sessions", "1")
    await watch(page, "current", "1")
    await expect(page.locator("#pages")).to_contain_text("/demo/second.html")
    assert problems == []


async def test_the_front_page_says_that_all_is_well(product: Product, context: BrowserContext) -> None:
    page = await context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    await page.goto(product.base)
    await expect(page.get_by_role("status")).to_have_text("Everything runs well")
    await expect(page.locator("#counted")).to_contain_text("Every acknowledged event is counted")
    await expect(page.locator("[data-flow=received]")).to_have_text(re.compile(r"^[\d,]+$"))
    assert problems == []


async def test_the_front_page_warns_of_a_proxy_that_is_not_trusted(product: Product, context: BrowserContext) -> None:
    sent = await context.request.post(
        f"{product.base}/v1/events", headers={"X-Forwarded-For": "203.0.113.9"}, data=[{"site_key": "sk_live_none"}]
    )
    assert sent.status == 400
    page = await context.new_page()
    await page.goto(product.base)
    await expect(page.get_by_role("alert")).to_contain_text("PULSE_TRUSTED_PROXIES=127.0.0.1")


@pytest.mark.parametrize("path", ["/", "/demo/", "/demo/second.html"])
async def test_the_pages_fit_a_small_telephone(product: Product, browser: Browser, path: str) -> None:
    context = await browser.new_context(viewport={"width": 320, "height": 640})
    page = await context.new_page()
    await page.goto(product.base + path)
    assert await page.evaluate("document.documentElement.scrollWidth") == 320
    await context.close()
