# mypy: disable-error-code="import-untyped"
"""Topics: what `prepare` makes, and what is refused wherever it is met."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from aiokafka.protocol.admin import CreateTopicsRequest

from ingest.log import LogDamagedError, LogUnavailableError
from ingest.log.kafka import open_kafka_log
from ingest.log.kafka_prepare import prepare_kafka, read_settings
from ingest.log.kafka_topic import find_dangers, to_replication, to_settings
from ingest.log.kafka_url import KafkaPlace
from ingest.log.kafka_wire import Wire
from ingest.log.open import open_log, prepare_log
from ingest.log.sqlite_room import Keeping
from tests.ingest.log.kafka_tools import delete_topic, grow_topic, make_topics, operating
from tests.ingest.log.makers import Clock, KafkaMaker, make_headers

if TYPE_CHECKING:
    from aiokafka.protocol.api import Request

    from tests.servers.kafka import KafkaServer

DAY = 24 * 3_600_000


@pytest.fixture
def topic(kafka_server: KafkaServer) -> KafkaMaker:
    """A maker whose topic is not there yet."""
    return KafkaMaker(f"kafka://{kafka_server.address}")


async def test_preparing_makes_what_is_missing_and_says_so(topic: KafkaMaker) -> None:
    made = await prepare_log(topic.url)
    assert [line.split(":")[0] for line in made] == [
        f"made the topic {topic.topic}",
        f"made the topic {topic.topic}.dead",
    ]
    assert "3 partitions, 1 replicas" in made[0]
    assert all("is there" in line for line in await prepare_log(topic.url))
    async with operating(topic.url) as wire:
        assert await read_settings(wire, topic.topic) == to_settings(1)
        assert await read_settings(wire, f"{topic.topic}.dead") == to_settings(1)


async def test_a_log_is_opened_by_its_url(topic: KafkaMaker) -> None:
    await prepare_log(topic.url)
    log = await open_log(topic.url, Keeping(), Clock())
    assert await log.append(0, make_headers(), b"a") == 0
    await log.close()


@pytest.mark.parametrize(("brokers", "expected"), [(1, (1, 1)), (2, (2, 1)), (3, (3, 2)), (9, (3, 2))])
def test_three_brokers_keep_three_copies_of_which_two_must_be_there(brokers: int, expected: tuple[int, int]) -> None:
    assert to_replication(KafkaPlace((("b", 1),), "t", "g"), brokers) == expected


SAFE = to_settings(2)


@pytest.mark.parametrize(
    ("changed", "replication", "danger"),
    [
        ({}, 3, None),
        ({"min.insync.replicas": "1"}, 1, None),
        ({"min.insync.replicas": "1"}, 3, "min.insync.replicas is 1 with 3"),
        ({"min.insync.replicas": "2"}, 1, "no block could ever be taken"),
        ({"retention.ms": str(DAY - 1)}, 3, "under a day"),
        ({"retention.ms": str(DAY)}, 3, None),
        ({"retention.ms": str(7 * DAY + 1)}, 3, "more than 7 days"),
        ({"retention.ms": "-1"}, 3, "more than 7 days"),
        ({"retention.ms": str(6 * DAY), "segment.ms": str(7 * DAY)}, 3, "set segment.ms"),
        ({"cleanup.policy": "compact"}, 3, "compaction"),
        ({"cleanup.policy": "compact,delete"}, 3, "compaction"),
        ({"retention.bytes": "1000000"}, 3, "retention.bytes"),
        ({"max.message.bytes": "100000"}, 3, "max.message.bytes"),
        ({"unclean.leader.election.enable": "true"}, 3, "unclean.leader.election"),
        ({"message.timestamp.type": "CreateTime"}, 3, "clock of a collector"),
    ],
)
def test_settings_that_lose_events_or_keep_addresses_are_dangers(
    changed: dict[str, str], replication: int, danger: str | None
) -> None:
    found = find_dangers({**SAFE, **changed}, replication)
    assert len(found) == (danger is not None)
    assert danger is None or danger in found[0]


def test_a_setting_that_is_not_known_is_a_danger() -> None:
    assert len(find_dangers({}, 3)) >= len(SAFE) - 1


@pytest.mark.parametrize("settings", [{"cleanup.policy": "compact"}, {"retention.ms": "1000"}])
async def test_a_dangerous_topic_is_neither_prepared_nor_opened(topic: KafkaMaker, settings: dict[str, str]) -> None:
    await make_topics(topic.url, settings, partitions=3)
    for attempt in (prepare_kafka, open_kafka_log):
        with pytest.raises(ValueError, match=f"the topic {topic.topic} is not fit to hold events"):
            await attempt(topic.url)


async def test_the_url_may_ask_for_no_more_than_the_topic_has(topic: KafkaMaker) -> None:
    await prepare_kafka(topic.url)
    with pytest.raises(ValueError, match="has 3 partitions for life, the URL asks for 4"):
        await open_kafka_log(topic.url.replace("partitions=3", "partitions=4"))
    with pytest.raises(ValueError, match="it has 1 replicas, the URL asks for 3"):
        await open_kafka_log(f"{topic.url}&replication=3")


async def test_a_topic_that_is_not_there_is_not_made_by_opening(topic: KafkaMaker) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match=r"there is no topic .*: `pulse migrate` makes it"):
            await open_kafka_log(topic.url)


async def test_more_replicas_than_brokers_are_refused_with_the_reason(topic: KafkaMaker) -> None:
    with pytest.raises(ValueError, match=r"cannot be made: INVALID_REPLICATION_FACTOR"):
        await prepare_kafka(KafkaMaker(topic.door, replication=3, deadline_ms=4000).url)


async def test_brokers_that_are_not_in_service_yet_are_waited_for(
    topic: KafkaMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask_any, refusals = Wire.ask_any, [0]

    async def refuse_first(wire: Wire, request: Request) -> object:
        if isinstance(request, CreateTopicsRequest) and refusals:
            refusals.pop()
            return SimpleNamespace(topic_errors=[(topic.topic, 38, "All brokers are currently fenced")])
        return await ask_any(wire, request)

    monkeypatch.setattr(Wire, "ask_any", refuse_first)
    assert "1 replicas" in (await prepare_kafka(topic.url))[0]
    assert not refusals


async def test_a_topic_that_is_made_anew_is_another_log(topic: KafkaMaker) -> None:
    log = await topic.open()
    await log.append(0, make_headers(), b"a")
    await delete_topic(topic.url)
    await prepare_kafka(topic.url)
    anew = await open_kafka_log(topic.url)
    assert anew.identity != log.identity
    with pytest.raises(LogDamagedError, match="deleted or made anew"):
        await log.ping()
    with pytest.raises(LogDamagedError, match="deleted or made anew"):
        await log.read(0, 0, 1)
    await log.close()
    await anew.close()
    with pytest.raises(LogUnavailableError, match="closed"):
        await log.ping()


async def test_a_topic_that_grew_is_refused(topic: KafkaMaker) -> None:
    log = await topic.open()
    assert log.identity.endswith("/3")
    await grow_topic(topic.url, 5)
    with pytest.raises(LogDamagedError, match="has 5 partitions now and had 3"):
        await log.ping()
    with pytest.raises(LogDamagedError, match="a visitor would change partition"):
        await log.append(0, make_headers(), b"a")
    await log.close()
    with pytest.raises(ValueError, match="has 5 partitions for life, the URL asks for 3"):
        await open_kafka_log(topic.url)
