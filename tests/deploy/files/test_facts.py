"""What the other tests of this folder take for true of Pulse."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from prometheus_client import CollectorRegistry

from ingest.collector import Collector, CollectorSettings
from ingest.collector_metrics import CollectorMetrics
from tests.deploy.files.facts import ASKED, COLLECTED, PATHS

if TYPE_CHECKING:
    from ingest.log import EventLog
    from ingest.sites import Sites


async def test_requests_of_a_collector_are_those_that_it_takes_and_none_is_a_question() -> None:
    log, sites = cast("EventLog", SimpleNamespace(partitions=1)), cast("Sites", None)
    metrics = CollectorMetrics(CollectorRegistry())
    assert set(Collector(log, sites, CollectorSettings(), lambda: 0, metrics).routes) == COLLECTED
    assert not COLLECTED & ASKED
    assert {path for _, path in COLLECTED} & {path for _, path in ASKED} == {"/v1/events"}
    assert not {path for _, path in COLLECTED | ASKED} & PATHS
