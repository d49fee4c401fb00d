"""Local days, buckets and ranges of the query API against the model's walk through real instants."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from query_api.buckets import cut_range
from query_api.local import first_instant, from_milliseconds, to_milliseconds
from query_api.question import CompareKind, Range
from query_api.ranges import PERIODS, to_compared, to_period
from schemas.zones import open_zone
from tests.model import local
from tests.model import ranges as periods
from tests.model.asked import intervals, ranges
from tests.model.ranges import to_previous, to_year
from tests.model.scenes import SCENES, ZONES, Scene, moments


@given(scene=st.sampled_from(SCENES), zone=st.sampled_from(ZONES), data=st.data())
def test_buckets_are_the_runs_of_instants_with_one_label(scene: Scene, zone: str, data: st.DataObject) -> None:
    start, end = sorted(data.draw(ranges(scene)))
    interval = data.draw(intervals(start, end))
    asked = Range(from_milliseconds(start), from_milliseconds(end))
    found = [(bucket.t, to_milliseconds(bucket.start)) for bucket in cut_range(asked, interval, open_zone(zone))]
    assert found == [(bucket.t, bucket.start) for bucket in local.buckets(start, end, interval, zone)]


@given(scene=st.sampled_from(SCENES), zone=st.sampled_from(ZONES), days=st.integers(-400, 400))
def test_a_local_day_begins_at_its_first_instant(scene: Scene, zone: str, days: int) -> None:
    day = scene.day + timedelta(days=days)
    assert to_milliseconds(first_instant(day, open_zone(zone))) == local.first_instant(day, zone)


@given(
    scene=st.sampled_from(SCENES),
    zone=st.sampled_from(ZONES),
    kind=st.sampled_from(("previous", "year")),
    data=st.data(),
)
def test_ranges_to_compare_with(scene: Scene, zone: str, kind: CompareKind, data: st.DataObject) -> None:
    start, end = sorted(data.draw(ranges(scene)))
    asked = Range(from_milliseconds(start), from_milliseconds(max(end, start + 1)))
    found = to_compared(kind, asked, open_zone(zone))
    compared = {"previous": to_previous, "year": to_year}[kind](start, max(end, start + 1), zone)
    assert (to_milliseconds(found.start), to_milliseconds(found.end)) == compared


@given(scene=st.sampled_from(SCENES), zone=st.sampled_from(ZONES), name=st.sampled_from(PERIODS), data=st.data())
def test_periods(scene: Scene, zone: str, name: str, data: st.DataObject) -> None:
    now = data.draw(moments(scene))
    found = to_period(name, from_milliseconds(now), open_zone(zone))
    assert (to_milliseconds(found.start), to_milliseconds(found.end)) == periods.to_period(name, now, zone)
