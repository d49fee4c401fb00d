"""A worker's side of what it and its parent say: its own figures, those of all, whether all serve."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import structlog
from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from deploy.workers_channel import Channel, Kind, Message
from deploy.workers_figures import Family, Sample

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from prometheus_client import CollectorRegistry

    from deploy.workers_figures import Figures
    from deploy.workers_place import Place

PUSH_SECONDS = 0.5  # what a worker that is killed has counted since is missing from the figures
ANSWER_SECONDS = 4.0  # less than a part has to answer /readyz
log = structlog.get_logger()


class ParentSilentError(Exception):
    """The parent of the workers does not answer."""


class Member:
    """Talks with the parent; `follow` must run meanwhile."""

    def __init__(self, place: Place, channel: Channel, registry: CollectorRegistry) -> None:
        self._place = place
        self._channel = channel
        self._registry = registry
        self._asked: dict[int, asyncio.Future[Message]] = {}
        self._last = 0

    def tell_serving(self) -> None:
        """Connections are taken now."""
        self._channel.send(Message(Kind.SERVING))

    async def follow(self, stop: asyncio.Event) -> None:
        """Tell the figures when asked and by the clock; set `stop` when the parent is gone."""
        pushing = asyncio.create_task(self._push())
        try:
            async for message in self._channel.messages():
                if message.kind is Kind.TELL:
                    self._tell(message.number)
                elif message.number in self._asked and not self._asked[message.number].done():
                    self._asked[message.number].set_result(message)
            log.warning("stopping", reason="the parent of the workers is gone")
        finally:
            stop.set()
            pushing.cancel()
            self._tell(0)

    async def read_metrics(self) -> bytes:
        """The figures of all workers as Prometheus reads them; raise HTTPServiceUnavailable when nobody adds them."""
        try:
            return to_text((await self._ask(Kind.ASK)).figures)
        except ParentSilentError as error:
            raise web.HTTPServiceUnavailable(text=str(error)) from error

    async def ping(self) -> None:
        """Return if all workers serve, else raise ParentSilentError or RuntimeError with how many do."""
        serving = (await self._ask(Kind.ASK_READY)).serving
        if serving < self._place.workers:
            message = f"{serving} of {self._place.workers} workers serve"
            raise RuntimeError(message)

    async def _push(self) -> None:
        while True:
            await asyncio.sleep(PUSH_SECONDS)
            self._tell(0)

    def _tell(self, number: int) -> None:
        self._channel.send(Message(Kind.FIGURES, number, to_figures(self._registry)))

    async def _ask(self, kind: Kind) -> Message:
        self._last += 1
        number = self._last
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._channel.send(Message(kind, number))
            return await asyncio.wait_for(answer, ANSWER_SECONDS)
        except TimeoutError:
            message = "the parent of the workers does not answer"
            raise ParentSilentError(message) from None
        finally:
            del self._asked[number]


@asynccontextmanager
async def joining(place: Place, registry: CollectorRegistry, stop: asyncio.Event) -> AsyncIterator[Member]:
    """Be a worker while the block runs; the last figures are told at its end."""
    channel = await Channel.open(place.open_channel())
    member = Member(place, channel, registry)
    following = asyncio.create_task(member.follow(stop), name="following the parent")
    try:
        yield member
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        await channel.close()


class Whole(Collector):
    """Figures that were added up, in the shape that Prometheus' library writes."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        """Every family."""
        for family in self._figures:
            metric = Metric(family.name, family.text, family.kind)
            for sample in family.samples:
                metric.add_sample(sample.name, dict(sample.labels), sample.value)
            yield metric


def to_text(figures: Figures) -> bytes:
    """The text that Prometheus reads."""
    return generate_latest(Whole(figures))


def to_figures(registry: CollectorRegistry) -> Figures:
    """All figures of this process as they stand."""
    return tuple(
        Family(
            metric.name,
            metric.type,
            metric.documentation,
            tuple(Sample(one.name, tuple(one.labels.items()), one.value) for one in metric.samples),
        )
        for metric in registry.collect()
    )
