"""Hypothesis strategies for questions: ranges, zones, sites, filters with every dimension and operator."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from tests.model.local import INTERVALS, local_day, to_local
from tests.model.ranges import to_range
from tests.model.records import Condition, Question
from tests.model.scenes import HOUR, ZONES, Scene, anchors, moments
from tests.model.stored import FLAVOURS, HOSTNAMES, NAMES, PATHS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.model.records import Site

OPERATORS = ("==", "!=", "=^", "=~", "!~", "=*")
POOLS: Mapping[str, tuple[str, ...]] = FLAVOURS | {
    "pathname": PATHS,
    "hostname": HOSTNAMES,
    "entry_page": (*PATHS, ""),
    "exit_page": (*PATHS, ""),
    "event_name": NAMES[2:],
    "props.plan": ("pro", "free", ""),
    "props.ключ": ("да", ""),
    "props.n": ("1.5", "2"),
}
DIMENSIONS = (*POOLS, "any.event_name", "any.pathname", "any.props.plan")
PATTERNS = ("^/a", "[ab]$", "o.*g", "^$", ".", "1|2", "(?i)chrome")
MOST_BUCKETS = 600


def values_of(pool: Sequence[str], operator: str) -> st.SearchStrategy[tuple[str, ...]]:
    """Values that some events meet and others do not."""
    if operator == "=*":
        return st.sampled_from(PATTERNS).map(lambda pattern: (pattern,))
    whole = st.sampled_from((*pool, "absent"))
    if operator not in ("==", "!="):
        whole = st.one_of(whole.map(lambda value: value[:2] or "x"), whole.map(lambda value: value[-1:] or "x"))
    return st.lists(whole, min_size=1, max_size=3, unique=True).map(tuple)


@st.composite
def conditions(draw: st.DrawFn, pools: Mapping[str, Sequence[str]] | None = None) -> Condition:
    """Any dimension of the pools with any operator; pathname, event_name and props with `any.` too."""
    pools = pools or POOLS
    dimension = draw(st.sampled_from([*pools, *(f"any.{name}" for name in pools if has_any(name))]))
    return draw(conditions_on(dimension, draw(st.sampled_from(OPERATORS)), pools))


@st.composite
def conditions_on(
    draw: st.DrawFn, dimension: str, operator: str, pools: Mapping[str, Sequence[str]] | None = None
) -> Condition:
    """A condition on this dimension with this operator."""
    pool = (pools or POOLS)[dimension.removeprefix("any.")]
    return Condition(dimension, operator, draw(values_of(pool, operator)))


def has_any(dimension: str) -> bool:
    """Whether the dimension can be asked of any event of a session."""
    return dimension in ("pathname", "event_name") or dimension.startswith("props.")


@dataclass(frozen=True, slots=True)
class Asking:
    """A question, and its `start` and `end` in words (which say the same)."""

    start: str
    end: str
    question: Question


@st.composite
def askings(
    draw: st.DrawFn, scene: Scene, sites: Sequence[Site], filters: st.SearchStrategy[Condition] | None = None
) -> Asking:
    """A question in words: bare dates, or times in UTC, without offset, or with one."""
    question = draw(questions(scene, sites, conditions() if filters is None else filters))
    style = draw(st.sampled_from(("dates", "Z", "", "offset")))
    if style == "dates":
        start = local_day(question.start, question.timezone).isoformat()
        end = local_day(question.end - 1, question.timezone).isoformat()
    else:
        zone = question.timezone if style == "offset" else "UTC"
        texts = [to_local(instant, zone).isoformat() for instant in (question.start, question.end)]
        start, end = (text if style == "offset" else text.removesuffix("+00:00") + style for text in texts)
    first, last = to_range(start, end, question.timezone)
    return Asking(start, end, replace(question, start=first, end=last, interval=draw(intervals(first, last))))


@st.composite
def questions(draw: st.DrawFn, scene: Scene, sites: Sequence[Site], filters: st.SearchStrategy[Condition]) -> Question:
    """A range around the scene, of milliseconds to weeks, in any zone, over any of the sites."""
    start, end = sorted(draw(ranges(scene)))
    asked = draw(st.lists(st.sampled_from([site.id for site in sites]), min_size=1, unique=True))
    timezone = draw(st.sampled_from((scene.timezone, scene.timezone, *ZONES)))
    return Question(
        start=start,
        end=end if end > start else start + 1,
        timezone=timezone,
        sites=tuple(sorted(asked)),
        conditions=tuple(draw(st.one_of(st.just([]), st.lists(filters, max_size=1), st.lists(filters, max_size=3)))),
        include_bots=draw(st.sampled_from((False, False, True))),
    )


def ranges(scene: Scene) -> st.SearchStrategy[tuple[int, int]]:
    """Two instants: around everything, between any two of interest, or of a length from one on."""
    first, *_ = anchors(scene)
    wide = st.sampled_from((3, 5, 40)).map(lambda days: (first - HOUR, first + days * 24 * HOUR))
    lengths = st.sampled_from((1, HOUR, 24 * HOUR, 7 * 24 * HOUR))
    long = st.builds(lambda start, length: (start, start + length), moments(scene), lengths)
    return st.one_of(wide, wide, st.tuples(moments(scene), moments(scene)), long)


@st.composite
def intervals(draw: st.DrawFn, start: int, end: int) -> str:
    """An interval that does not make too many buckets for a test to wait for."""
    minutes = (end - start) // 60_000
    fine = [name for name, size in zip(INTERVALS, (1, 5, 15, 60), strict=False) if minutes // size < MOST_BUCKETS]
    return draw(st.sampled_from([*fine, "1 day", "1 week", "1 month"]))
