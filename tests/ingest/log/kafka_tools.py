# mypy: disable-error-code="import-untyped"
"""What an operator, or somebody else's program, does with a topic."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaProducer
from aiokafka.protocol.admin import CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest

from ingest.log.kafka_errors import check
from ingest.log.kafka_prepare import look_at
from ingest.log.kafka_topic import to_settings
from ingest.log.kafka_url import parse_kafka_url
from ingest.log.kafka_wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

WITHIN_MS = 10_000


@asynccontextmanager
async def operating(url: str) -> AsyncIterator[Wire]:
    """Be connected for a while."""
    wire = Wire(parse_kafka_url(url))
    try:
        yield wire
    finally:
        await wire.close()


async def make_topics(url: str, settings: Mapping[str, str], *, partitions: int = 1) -> None:
    """Make a log's topics with settings that are not ours everywhere."""
    place = parse_kafka_url(url)
    async with operating(url) as wire:
        for topic, count in ((place.topic, partitions), (place.dead_topic, 1)):
            entries = list((dict(to_settings(1)) | dict(settings)).items())
            request = CreateTopicsRequest([(topic, count, 1, [], entries)], WITHIN_MS, validate_only=False)
            ((_, error, said),) = (await wire.ask_any(request)).topic_errors
            check(error, said)
            while not (await look_at(wire, topic)).partitions:
                pass


async def delete_topic(url: str) -> None:
    """Delete a log's topic, and wait until it is gone."""
    place = parse_kafka_url(url)
    async with operating(url) as wire:
        await wire.ask_any(DeleteTopicsRequest([place.topic], WITHIN_MS))
        while (await look_at(wire, place.topic)).partitions:
            pass


async def grow_topic(url: str, partitions: int) -> None:
    """Give a log's topic more partitions."""
    place = parse_kafka_url(url)
    async with operating(url) as wire:
        await wire.ask_any(CreatePartitionsRequest([(place.topic, (partitions, None))], WITHIN_MS, validate_only=False))
        while len((await look_at(wire, place.topic)).partitions) < partitions:
            pass


@asynccontextmanager
async def foreign_producer(address: str, transactional_id: str | None = None) -> AsyncIterator[AIOKafkaProducer]:
    """Somebody else's program."""
    producer = AIOKafkaProducer(bootstrap_servers=address, transactional_id=transactional_id)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()
