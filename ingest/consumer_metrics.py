"""What the consumer says of itself to Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

from schemas.warehouse.errors import WarehouseFencedError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from ingest.writer import Landing


class ConsumerMetrics:
    """Counts of events by what became of them, time by step, how far behind."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics."""
        self.events = Counter(
            "pulse_consumed_events_total", "Events by what became of them", ["result"], registry=registry
        )
        self.batches = Counter("pulse_consumed_batches_total", "Batches that have landed", registry=registry)
        self.seconds = Histogram(
            "pulse_consumer_step_seconds", "Time of a batch in each step", ["step"], registry=registry
        )
        self.position = Gauge(
            "pulse_consumer_position", "Next position to read of a log partition", ["partition"], registry=registry
        )
        self.received = Gauge(
            "pulse_consumer_received_seconds", "Latest receipt time that has landed, epoch seconds", registry=registry
        )

        self.lag_blocks = Gauge(
            "pulse_consumer_lag_blocks", "Blocks that wait in a log partition", ["partition"], registry=registry
        )
        self.lag_seconds = Gauge(
            "pulse_consumer_lag_seconds", "Age of the oldest event that waits, seconds", registry=registry
        )
        self.fenced = Counter(
            "pulse_fence_lost_total", "Inserts refused because somebody else took over", registry=registry
        )
        self.unknown = Counter(
            "pulse_inserts_unknown_total", "Inserts whose answer was lost, so that all was read anew", registry=registry
        )

    def count_restart(self, error: Exception) -> None:
        """Count why a share was taken over again."""
        (self.fenced if isinstance(error, WarehouseFencedError) else self.unknown).inc()

    def forget_partitions(self) -> None:
        """Tell nothing more of partitions that somebody else has."""
        self.position.clear()
        self.lag_blocks.clear()
        self.lag_seconds.set(0)

    def count(self, landing: Landing, received: int) -> None:
        """Count what has landed; `received` is its latest receipt time (epoch ms)."""
        self.batches.inc()
        self.events.labels("stored").inc(landing.events.num_rows)
        self.events.labels("duplicate").inc(landing.duplicates.num_rows)
        self.events.labels("dead").inc(len(landing.bad))
        self.received.set(received / 1000)
        for partition, position in landing.ends.items():
            self.position.labels(str(partition)).set(position)
