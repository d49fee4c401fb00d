# mypy: disable-error-code="import-untyped"
"""Where a partition ends, told by brokers that do not know it: they have just come back and do not lead yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest

from ingest.log import LogUnavailableError
from ingest.log.kafka_fetch import Fetcher
from ingest.log.kafka_url import parse_kafka_url
from ingest.log.kafka_wire import ASK, Wire
from tests.ingest.log.makers import KafkaMaker, make_headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiokafka.protocol.api import Request, Response

    from tests.servers.kafka import KafkaServer

NOT_LEADER = 6
KIBIBYTE = 1024


class ForgetfulWire(Wire):
    """Its brokers answer fetches from position `knows` on with nothing, and do not lead for `questions` more."""

    knows = 0
    questions = 0

    async def ask(self, node: int, request: Request, lane: str = ASK, seconds: float | None = None) -> Response:
        """Ask, and forget what a broker that has just come back does not know."""
        answer = await super().ask(node, request, lane, seconds)
        if self.questions and isinstance(request, FetchRequest):
            ((topic, ((number, error, _, *rest, _),)),) = answer.topics
            answer.topics = [(topic, [(number, error, self.knows, *rest, b"")])]
        elif self.questions and isinstance(request, OffsetRequest):
            self.questions -= 1
            ((topic, ((number, _, *rest),)),) = answer.topics
            answer.topics = [(topic, [(number, NOT_LEADER, *rest)])]
        return answer


@pytest.fixture
async def wire(kafka_server: KafkaServer) -> AsyncIterator[ForgetfulWire]:
    """Brokers that lead a topic with three blocks in its partition 0."""
    maker = KafkaMaker(f"kafka://{kafka_server.address}", deadline_ms=4000)
    log = await maker.open()
    for _ in range(3):
        await log.append(0, make_headers(), b"x")
    await log.close()
    place = parse_kafka_url(maker.url)
    wire = ForgetfulWire(place)
    await wire.look([place.topic])
    yield wire
    await wire.close()


@pytest.fixture
def fetcher(wire: ForgetfulWire) -> Fetcher:
    """Reads there."""
    return Fetcher(wire, wire._place)  # noqa: SLF001 - the same place


async def test_the_first_end_that_is_heard_is_made_sure_of(wire: ForgetfulWire, fetcher: Fetcher) -> None:
    wire.questions = 3
    assert [record.position for record in (await fetcher.fetch(0, 0, KIBIBYTE)).records] == [0, 1, 2]


async def test_an_end_lower_than_a_known_one_is_made_sure_of(wire: ForgetfulWire, fetcher: Fetcher) -> None:
    assert len((await fetcher.fetch(0, 0, KIBIBYTE)).records) == 3
    wire.questions, wire.knows = 3, 2
    assert (await fetcher.fetch(0, 2, KIBIBYTE)).end == 3


async def test_a_position_that_a_broker_has_not_heard_of_yet_is_no_damage(
    wire: ForgetfulWire, fetcher: Fetcher
) -> None:
    wire.questions, wire.knows = 3, 1
    found = await fetcher.fetch(0, 3, KIBIBYTE)
    assert (found.records, found.behind, found.end) == ([], 3, 3)


async def test_an_end_that_nobody_can_tell_is_not_guessed(wire: ForgetfulWire, fetcher: Fetcher) -> None:
    wire.questions = 1000
    with pytest.raises(LogUnavailableError, match="NOT_LEADER"):
        await fetcher.fetch(0, 0, KIBIBYTE)
