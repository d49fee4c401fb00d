"""Hypothesis strategies for stored events: small pools of values, so that everything meets everything."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from tests.model.local import first_instant, local_day
from tests.model.records import ENGAGEMENT, PAGEVIEW, SESSION_DIMENSIONS, Event, Site
from tests.model.scenes import SCENES, ZONES, Scene, gaps, moments

if TYPE_CHECKING:
    from collections.abc import Hashable

PATHS = ("/", "/a", "/a/", "/b", "/Übung/😀", "/a%20b|c")
HOSTNAMES = ("example.org", "shop.example.org")
NAMES = (PAGEVIEW, PAGEVIEW, PAGEVIEW, ENGAGEMENT, ENGAGEMENT, "signup", "quiet", "Größe 😀")
PROPS: tuple[dict[str, str], ...] = ({}, {"plan": "pro"}, {"plan": "", "n": "1.5"}, {"plan": "free", "ключ": "да"})

# Four visits that differ in everything or in little: column by column, one value a flavour.
FLAVOURS = {name: (f"{name} 1", f"{name} 2", "", "") for name in SESSION_DIMENSIONS[2:]} | {
    "referrer": ("google.com/", "news.example/ä", "", ""),
    "referrer_source": ("Google", "news.example", "Direct", "Direct"),
    "channel": ("Organic Search", "Referral", "Direct", "Direct"),
    "country": ("DE", "US", "DE", ""),
    "region": ("Bayern", "Washington", "Hessen", ""),
    "city": ("Köln", "Milton", "Köln", ""),
    "device_type": ("desktop", "mobile", "desktop", ""),
    "browser": ("Chrome", "Safari", "Chrome", ""),
    "os": ("Windows", "iOS", "macOS", ""),
}


@dataclass(frozen=True, slots=True)
class Step:
    """What a visitor does next: after how long, and what."""

    gap: int
    name: str
    path: str
    hostname: str
    flavour: int
    props: dict[str, str]
    engaged_ms: int
    scroll_depth: int
    bot: bool


steps = st.builds(
    Step,
    gap=gaps,
    name=st.sampled_from(NAMES),
    path=st.sampled_from(PATHS),
    hostname=st.sampled_from(HOSTNAMES),
    flavour=st.integers(0, 3),
    props=st.sampled_from(PROPS),
    engaged_ms=st.sampled_from((0, 1, 1500, 61_234)),
    scroll_depth=st.sampled_from((-1, 0, 33, 100)),
    bot=st.sampled_from((False,) * 9 + (True,)),
)


@dataclass(frozen=True, slots=True)
class World:
    """Sites and all their stored events; `scene` is where the events lie in time."""

    scene: Scene
    sites: tuple[Site, ...]
    events: tuple[Event, ...]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """One to three sites, a few visitors each, visits around one scene, rows in any order of arrival."""
    scene = draw(st.sampled_from(SCENES))
    zones = [scene.timezone, *draw(st.lists(st.sampled_from([one.timezone for one in SCENES]), max_size=2))]
    sites = tuple(Site(number, f"site{number}.example", zone) for number, zone in enumerate(zones, 1))
    walks = [draw(_walks(draw(st.sampled_from(sites)), scene)) for _ in range(draw(st.integers(1, 6)))]
    events = draw(st.permutations([event for walk in walks for event in walk]))
    return World(scene, sites, tuple(replace(event, place=place) for place, event in enumerate(events)))


@st.composite
def _walks(draw: st.DrawFn, site: Site, scene: Scene) -> list[Event]:
    """One visitor's steps from an instant on; an identified one is the same on every day.

    Rarely the site had another timezone when they were received: their local days stay those of that zone.
    """
    zone = draw(st.sampled_from((*[site.timezone] * 5, *ZONES)))
    who = draw(st.sampled_from(("v", "w", "known")))
    ts = draw(moments(scene))
    events = []
    for step in draw(st.lists(steps, min_size=1, max_size=7)):
        ts += step.gap
        events.append(_to_event(replace(site, timezone=zone), who, ts, step))
    return events


def _to_event(site: Site, who: str, ts: int, step: Step) -> Event:
    day = local_day(ts, site.timezone)
    visitor: Hashable = (site.id, who) if who == "known" else (site.id, who, day)
    values = {name: values[step.flavour] for name, values in FLAVOURS.items()}
    return Event(
        site=site.id,
        visitor=visitor,
        day=day,
        ts=ts,
        place=0,
        name=step.name,
        interactive=step.name != "quiet",
        bot=step.bot,
        engaged_ms=step.engaged_ms if step.name == ENGAGEMENT else 0,
        scroll_depth=step.scroll_depth if step.name == ENGAGEMENT else -1,
        dimensions=values | {"pathname": step.path, "hostname": step.hostname},
        props=step.props,
    )


def full_world(scene: Scene) -> World:
    """A site with something of everything: no chance in it, every value of every pool meets many others."""
    site = Site(1, "site1.example", scene.timezone)
    events = []
    ts = dict.fromkeys(("v", "w", "known", "x", "y"), first_instant(scene.day, scene.timezone))
    for number in range(120):
        who = tuple(ts)[number % len(ts)]
        ts[who] += (20, 90, 500)[number % 3] * (number % 7) * 1000 + number
        step = Step(
            gap=0,
            name=NAMES[number % len(NAMES)],
            path=PATHS[(number // 2 + number // 13) % len(PATHS)],
            hostname=HOSTNAMES[number // 5 % 2],
            flavour=number // 3 % 4,
            props=PROPS[number // 4 % len(PROPS)],
            engaged_ms=number * 100,
            scroll_depth=number % 100,
            bot=number % 29 == 0,
        )
        events.append(replace(_to_event(site, who, ts[who], step), place=number))
    return World(scene, (site,), tuple(events))
