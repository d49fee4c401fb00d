"""Hypothesis strategies for streams of requests: visits as senders see them, resent, late, shuffled, batched."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from hypothesis import strategies as st

from tests.model.asked import conditions
from tests.model.facts import ADDRESSES, AGENTS, NOWHERE, PLACES, WAYS
from tests.model.records import ENGAGEMENT, PAGEVIEW, Scalar, Sent, Site
from tests.model.scenes import SCENES, SECOND, Scene, gaps, moments

if TYPE_CHECKING:
    from tests.model.facts import Way
    from tests.model.records import Condition

HOUR = 3_600_000
# Near the clock of the product under test, so that public senders can reach them; the rest needs an ingest key.
RECENT = (
    Scene("America/New_York", date(2031, 11, 2)),
    Scene("America/Havana", date(2031, 11, 2)),
    Scene("Asia/Kathmandu", date(2031, 11, 2)),
    Scene("Europe/Berlin", date(2031, 11, 2)),
)
PATHS = ("", "/", "/a", "/A/", "/b%20c", "/ü/😀", "//x//")
NAMES = (PAGEVIEW, PAGEVIEW, PAGEVIEW, ENGAGEMENT, ENGAGEMENT, "signup", "quiet", "Größe 😀")
PROPS: tuple[tuple[tuple[str, Scalar], ...], ...] = (
    (),
    (("plan", "pro"),),
    (("plan", ""), ("n", 7)),
    (("plan", "free"), ("ключ", "да 😀"), ("paid", True), ("price", 1.5)),
)
Form = Literal["object", "array", "ndjson"]
PAUSES = (0, 0, 1, 3 * SECOND, 240 * SECOND)


@dataclass(frozen=True, slots=True)
class Request:
    """Records that travel together. `pause` passes on the clock before it; `settled`: the ones before are stored."""

    records: tuple[Sent, ...]
    public: bool
    form: Form
    encoding: str
    pause: int
    settled: bool


@dataclass(frozen=True, slots=True)
class Stream:
    """Sites and the requests that reach them, in order."""

    scene: Scene
    sites: tuple[Site, ...]
    requests: tuple[Request, ...]


@dataclass(frozen=True, slots=True)
class Sender:
    """A browser: where it is, what it is, how it came."""

    site: Site
    address: str
    user_agent: str
    way: Way
    language: str


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    """One to three sites, a few senders each, resends, any order of arrival, any split into requests."""
    scene = draw(st.sampled_from((*RECENT, *RECENT, *SCENES)))
    zones = [scene.timezone, *draw(st.lists(st.sampled_from([one.timezone for one in SCENES]), max_size=2))]
    sites = tuple(Site(number, f"site{number}.example", zone) for number, zone in enumerate(zones, 1))
    records: list[Sent] = []
    for _ in range(draw(st.integers(1, 5))):
        records += draw(_visits(draw(st.sampled_from(sites)), scene))
    records = _with_ids(records)
    records = draw(st.permutations(records)) if draw(st.booleans()) else records
    requests = draw(_requests(records))
    return Stream(scene, sites, (*requests, *draw(_resends(records))))


@st.composite
def _visits(draw: st.DrawFn, site: Site, scene: Scene) -> list[Sent]:
    """One sender's records from an instant on; its user_id may appear, change and go away."""
    sender = Sender(
        site,
        draw(st.sampled_from(tuple(ADDRESSES))),
        draw(st.sampled_from([agent.text for agent in (*AGENTS[:-1], *AGENTS)])),
        draw(st.sampled_from(WAYS)),
        draw(st.sampled_from(("", "de", "en-US"))),
    )
    ts = draw(moments(scene))
    users = draw(st.sampled_from((("",), ("ann",), ("", "ann"), ("ann", ""), ("ann", "bob"), ("", "ann", ""))))
    records = []
    for number in range(draw(st.integers(1, 7))):
        ts += draw(gaps)
        record = draw(_records(sender, ts, first=number == 0))
        records.append(replace(record, user_id=users[min(number // 2, len(users) - 1)]))
    return records


@st.composite
def _records(draw: st.DrawFn, sender: Sender, ts: int, *, first: bool) -> Sent:
    name = draw(st.sampled_from(NAMES))
    host = draw(st.sampled_from((sender.site.domain, f"WWW.{sender.site.domain}:8443")))
    fragment = draw(st.sampled_from(("", "#top")))
    query = sender.way.query if first else ""
    engaged = name == ENGAGEMENT
    return Sent(
        site=sender.site,
        ts=ts,
        name=name,
        url=f"https://{host}{draw(st.sampled_from(PATHS))}{query}{fragment}",
        referrer=sender.way.referrer if first else draw(st.sampled_from(("", f"https://{sender.site.domain}/before"))),
        title=draw(st.sampled_from(("", "Ein Titel 😀"))),
        props=draw(st.sampled_from(PROPS)),
        revenue=draw(st.sampled_from((None, None, ("12.50", "EUR")))),
        address=sender.address,
        user_agent=sender.user_agent,
        language=sender.language,
        interactive=name != "quiet",
        engaged_ms=draw(st.sampled_from((0, 1, 1500, 1_800_000))) if engaged else 0,
        scroll_depth=draw(st.sampled_from((-1, 0, 33, 100))) if engaged else -1,
    )


@st.composite
def _requests(draw: st.DrawFn, records: list[Sent]) -> list[Request]:
    """Split into runs; a public request is one sender's, whatever an ingest key sends may be anybody's."""
    requests = []
    rest = list(records)
    while rest:
        size = draw(st.sampled_from((1, 2, 5, 40)))
        run, rest = rest[:size], rest[size:]
        public = draw(st.booleans())
        groups = _by_sender(run) if public else [run]
        requests += [draw(_request(tuple(group), public=public)) for group in groups]
    return requests


@st.composite
def _request(draw: st.DrawFn, records: tuple[Sent, ...], *, public: bool) -> Request:
    forms: tuple[Form, ...] = ("object", "array", "ndjson") if len(records) == 1 else ("array", "ndjson")
    return Request(
        records,
        public,
        draw(st.sampled_from(forms)),
        draw(st.sampled_from(("", "", "gzip", "zstd"))),
        draw(st.sampled_from(PAUSES)),
        settled=draw(st.sampled_from((False, False, True))),
    )


@st.composite
def _resends(draw: st.DrawFn, records: list[Sent]) -> list[Request]:
    """Some records again: as they were, as a further attempt, or from another address once the first is stored.

    Decision: only what API.md promises to count once: within an hour, or with an `attempt` of two and more.
    """
    with_id = [record for record in records if record.event_id]
    if not with_id:
        return []
    requests = []
    for record in draw(st.lists(st.sampled_from(with_id), max_size=4)):
        attempt = draw(st.sampled_from((1, 2, 3)))
        elsewhere = draw(st.booleans())
        address = draw(st.sampled_from(tuple(ADDRESSES))) if elsewhere else record.address
        again = replace(record, attempt=attempt, address=address)
        request = draw(_request((again,), public=draw(st.booleans())))
        pause = draw(st.sampled_from((request.pause, 2 * HOUR))) if attempt > 1 else request.pause
        requests.append(replace(request, pause=pause, settled=elsewhere or request.settled))
    # The long pauses come last: a first attempt is only known again within the hour.
    return sorted(requests, key=lambda request: request.pause == 2 * HOUR)


def _by_sender(records: list[Sent]) -> list[list[Sent]]:
    senders = list(dict.fromkeys((record.address, record.user_agent) for record in records))
    return [[record for record in records if (record.address, record.user_agent) == sender] for sender in senders]


def _with_ids(records: list[Sent]) -> list[Sent]:
    """Most records get an event id; the ids of one site come again in the others, where they mean other events."""
    counts: Counter[int] = Counter()
    given = []
    for record in records:
        counts[record.site.id] += 1
        number = counts[record.site.id]
        given.append(replace(record, event_id=_event_id(number)) if number % 4 else record)
    return given


def _event_id(number: int) -> str:
    return str(UUID(int=(7 << 76) | (2 << 62) | number))


def sent_conditions() -> st.SearchStrategy[Condition]:
    """Filters on what these streams hold."""
    pages = ("/", "/a", "/A/", "/b%20c", "/ü/😀", "//x//")
    pools: dict[str, tuple[str, ...]] = {
        "pathname": pages,
        "entry_page": (*pages, ""),
        "exit_page": (*pages, ""),
        "hostname": ("site1.example", "site2.example"),
        "event_name": NAMES[2:],
        "props.plan": ("pro", "free", ""),
        "props.ключ": ("да 😀", ""),
        "props.n": ("7", ""),
        "props.paid": ("true",),
        "props.price": ("1.5",),
        "language": ("", "de", "en-US"),
    }
    for name in ("referrer_source", "channel", "utm_source", "utm_medium", "utm_campaign"):
        pools[name] = tuple(dict.fromkeys(str(getattr(way, name)) for way in WAYS))
    pools["referrer"] = tuple(dict.fromkeys(way.referrer_dimension for way in WAYS))
    for name in ("device_type", "browser", "os"):
        pools[name] = tuple(dict.fromkeys(str(getattr(agent, name)) for agent in AGENTS))
    for name in ("country", "region", "city"):
        pools[name] = tuple(dict.fromkeys(str(getattr(place, name)) for place in (*PLACES, NOWHERE)))
    return conditions(pools)
