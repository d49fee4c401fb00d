"""Where the next page of a file is: a JSON answer says it in its meta, a file in a header."""

from __future__ import annotations

from hashlib import sha512
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from query_api.control.sites import SiteDraft, create_site
from tests.query_api.serving import NOW, TODAY, insert_view

if TYPE_CHECKING:
    from tests.query_api.serving import Answer, Api, Tenant


async def test_a_file_says_where_its_next_page_is(api: Api, tenant: Tenant) -> None:
    for number, path in enumerate(("/a", "/b", "/ü,c"), start=1):
        await insert_view(api.parts.warehouse, tenant.site.live.id, number, number, pathname=path)
    whole = (await api.get(f"/v1/pages?{TODAY}&format=ndjson", tenant.live)).body
    url, pages = f"/v1/pages?{TODAY}&limit=1&format=ndjson", []
    while url:
        answer = await api.get(url, tenant.live)
        assert answer.headers["X-Total-Count"] == "3"
        pages.append(answer.body)
        url = to_next(url, answer)
    assert pages == whole.splitlines(keepends=True)


async def test_the_next_page_fits_into_the_headers_or_is_left_to_the_json(api: Api, tenant: Tenant) -> None:
    for number, path in enumerate(("/a", "/b"), start=1):
        await insert_view(api.parts.warehouse, tenant.site.live.id, number, number, pathname=path)
    with_link = set()
    for size in range(2, 50, 4):
        values = [sha512(bytes([number])).hexdigest() for number in range(size)]  # nothing packs them well
        url = f"/v1/pages?{TODAY}&limit=1&filters={';'.join('pathname!=' + value for value in values)}"
        answer = await api.get(url + "&format=csv", tenant.live)
        assert sum(len(name) + len(value) + 4 for name, value in answer.headers.items()) < 4000
        assert answer.headers["X-Total-Count"] == "2"
        with_link.add("Link" in answer.headers)
        assert b'"cursor":"' in (await api.get(url, tenant.live)).body
    assert with_link == {True, False}


async def test_sites_as_a_file_have_a_next_page(api: Api, tenant: Tenant) -> None:
    for number in range(3):
        await create_site(api.parts.control, tenant.project, SiteDraft(f"more-{number}.example"), NOW)
    url, found = "/v1/sites?per_page=2&format=ndjson", b""
    while url:
        answer = await api.get(url, tenant.live)
        found += answer.body
        url = to_next(url, answer)
    assert found == (await api.get("/v1/sites?per_page=1000&format=ndjson", tenant.live)).body
    assert found.count(b"\n") == int(answer.headers["X-Total-Count"]) == 4


def to_next(url: str, answer: Answer) -> str:
    """The URL that `Link` names, or nothing."""
    link = answer.headers.get("Link", "").removeprefix("<").removesuffix('>; rel="next"')
    return urljoin(url, link) if link else ""
