# mypy: disable-error-code="import-untyped"
"""Makes the topics of a log, and looks at those that are there: `check_topics` is asked by everybody who opens it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from aiokafka.protocol.admin import CreateTopicsRequest, DescribeConfigsRequest

from ingest.log import LogUnavailableError
from ingest.log.kafka_errors import (
    INVALID_REPLICATION,
    TOPIC_EXISTS,
    UNKNOWN_TOPIC,
    BrokerRefusedError,
    RefusedForGoodError,
    as_log_error,
    check,
    may_pass,
    to_name,
)
from ingest.log.kafka_topic import NAMES, PARTITIONS, find_dangers, find_differences, to_replication, to_settings
from ingest.log.kafka_url import parse_kafka_url
from ingest.log.kafka_wire import Wire, has_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from ingest.log.kafka_url import KafkaPlace
    from ingest.log.kafka_wire import TopicState

CREATE_MS = 15_000
KNOWN_WITHIN = 15.0
LOOK_AGAIN = 0.05
TOPIC = 2  # a kind of resource


async def prepare_kafka(url: str) -> list[str]:
    """Make the topics of the log where they are not, and say what was done.

    Raise ValueError when the URL or a topic that is there is not right, LogUnavailableError when brokers cannot be had.
    """
    place = parse_kafka_url(url)
    async with connected(place) as wire:
        done = []
        for topic, partitions in ((place.topic, place.partitions or PARTITIONS), (place.dead_topic, 1)):
            if (await look_at(wire, topic)).error == UNKNOWN_TOPIC:
                done.append(await _make(wire, place, topic, partitions))
            else:
                done.append(f"the topic {topic} is there and its settings are right")
        await check_topics(wire, place)
        return done


async def check_topics(wire: Wire, place: KafkaPlace) -> TopicState:
    """Give the state of the log's topic; raise ValueError when it or its sister is missing or dangerous."""
    state = await check_topic(wire, place, place.topic)
    dead = await check_topic(wire, place, place.dead_topic)
    if place.partitions not in {None, len(state.partitions)}:
        message = (
            f"the topic {place.topic} has {len(state.partitions)} partitions for life, the URL asks for "
            f"{place.partitions}: leave partitions= out, or name a new topic (a visitor would change partition)"
        )
        raise ValueError(message)
    if len(dead.partitions) != 1:
        message = f"the topic {place.dead_topic} has {len(dead.partitions)} partitions and must have one"
        raise ValueError(message)
    return state


async def check_topic(wire: Wire, place: KafkaPlace, topic: str) -> TopicState:
    """Give the state of one topic; raise ValueError when it is missing or dangerous."""
    state = await look_at(wire, topic)
    if state.error == UNKNOWN_TOPIC:
        message = f"there is no topic {topic} at {place}: `pulse migrate` makes it"
        raise ValueError(message)
    check(state.error)
    if not has_id(state):
        message = f"the brokers at {place} give topics no ids: Kafka 2.8 or newer is needed"
        raise ValueError(message)
    settings = await read_settings(wire, topic)
    replication = min(partition.replicas for partition in state.partitions.values())
    wrong = (*find_dangers(settings, replication), *find_differences(place, settings, replication))
    if wrong:
        message = f"the topic {topic} is not fit to hold events: {'; '.join(wrong)} (kafka-configs.sh --alter)"
        raise ValueError(message)
    return state


async def look_at(wire: Wire, topic: str) -> TopicState:
    """What the brokers say of the topic now."""
    return (await wire.look([topic]))[topic]


async def read_settings(wire: Wire, topic: str) -> Mapping[str, str]:
    """The settings in force; raise BrokerRefusedError when the user may not read them."""
    answer = await wire.ask_any(DescribeConfigsRequest([(TOPIC, topic, list(NAMES))]))
    ((error, said, _, _, entries),) = answer.resources
    check(error, f"{to_name(error)} {said or ''}: the settings of {topic} cannot be read (right DescribeConfigs)")
    return {name: value for name, value, *_ in entries}


async def _make(wire: Wire, place: KafkaPlace, topic: str, partitions: int) -> str:
    replication, settings = await _create(wire, place, topic, partitions)
    await _wait_until_known(wire, topic, partitions)
    return (
        f"made the topic {topic}: {partitions} partitions, {replication} replicas "
        f"({', '.join(f'{name}={value}' for name, value in settings.items())})"
    )


async def _create(wire: Wire, place: KafkaPlace, topic: str, partitions: int) -> tuple[int, Mapping[str, str]]:
    """Give the replicas and settings. Brokers that have only just come are counted late, and put in service later.

    The number of replicas is for life, so it never falls because a broker is missing meanwhile.
    """
    until = asyncio.get_running_loop().time() + place.deadline
    brokers = 0
    while True:
        await wire.look([topic])
        brokers = max(brokers, wire.brokers)
        replication, min_insync = to_replication(place, brokers)
        settings = to_settings(min_insync)
        request = CreateTopicsRequest(
            [(topic, partitions, replication, [], list(settings.items()))], CREATE_MS, validate_only=False
        )
        ((_, error, said),) = (await wire.ask_any(request)).topic_errors
        if error != INVALID_REPLICATION or asyncio.get_running_loop().time() > until:
            break
        await asyncio.sleep(LOOK_AGAIN)
    if error != TOPIC_EXISTS:  # else another was first
        check(error, f"the topic {topic} cannot be made: {to_name(error)} {said or ''}".strip())
    return replication, settings


async def _wait_until_known(wire: Wire, topic: str, partitions: int) -> None:
    """Brokers hear of a new topic one after the other."""
    until = asyncio.get_running_loop().time() + KNOWN_WITHIN
    while True:
        state = await look_at(wire, topic)
        if sum(partition.leader >= 0 for partition in state.partitions.values()) >= partitions:
            return
        if asyncio.get_running_loop().time() > until:
            message = f"the topic {topic} was made, but not every partition has a leader: look at the brokers"
            raise LogUnavailableError(message)
        await asyncio.sleep(LOOK_AGAIN)


@asynccontextmanager
async def connected(place: KafkaPlace) -> AsyncIterator[Wire]:
    """A wire for a while. ValueError for what will not pass by itself, LogUnavailableError for the rest."""
    wire = Wire(place)
    try:
        with as_open_error(place):
            yield wire
    finally:
        await wire.close()


@contextmanager
def as_open_error(place: KafkaPlace) -> Iterator[None]:
    """Say what will not pass by itself as ValueError, the rest as LogUnavailableError, each in one line."""
    try:
        with as_log_error(f"Kafka cannot be used at {place}"):
            yield
    except LogUnavailableError as error:
        cause = error.__cause__
        if isinstance(cause, BrokerRefusedError | RefusedForGoodError) and not may_pass(cause):
            raise ValueError(str(error)) from cause
        raise
