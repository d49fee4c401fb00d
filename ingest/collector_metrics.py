"""What the collector counts of itself, for Prometheus."""

from __future__ import annotations

from collections import Counter as Tally
from typing import TYPE_CHECKING

from prometheus_client import Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector as MetricsCollector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

    from ingest.refused import Reason

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class CollectorMetrics(MetricsCollector):
    """Plain numbers on the hot path, made into metrics when somebody asks (a prometheus counter takes 0.6 µs each).

    `answers` counts requests by status, `refused` records by reason (unknown sites too), `waiting` gives the bytes
    that are not durable yet.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.answers: Tally[int] = Tally()
        self.accepted = 0
        self.refused: Tally[Reason] = Tally()
        self.lines = 0
        self.waiting: Callable[[], int] = int
        self.append_seconds = Histogram(
            "pulse_collector_append_seconds", "Until a block was durable", buckets=SECONDS, registry=registry
        )
        registry.register(self)

    def note_block(self, lines: int, seconds: float) -> None:
        """A block of so many lines became durable after so long."""
        self.lines += lines
        self.append_seconds.observe(seconds)

    def describe(self) -> Iterable[Metric]:
        """Nothing is asked for at registration."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """All counts as they stand."""
        answers = CounterMetricFamily("pulse_collector_answers", "Requests by status", labels=["status"])
        for status, count in sorted(self.answers.items()):
            answers.add_metric([str(status)], count)
        refused = CounterMetricFamily("pulse_collector_refused", "Records refused, by reason", labels=["reason"])
        for reason, count in sorted(self.refused.items()):
            refused.add_metric([reason], count)
        yield answers
        yield refused
        yield CounterMetricFamily("pulse_collector_accepted", "Records accepted and durable", value=self.accepted)
        yield GaugeMetricFamily("pulse_collector_waiting_bytes", "Lines that are not durable yet", value=self.waiting())
