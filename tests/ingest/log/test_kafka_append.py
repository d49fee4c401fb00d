# mypy: disable-error-code="import-untyped"
"""Appends when the broker hangs, dies and comes back: bounded in time and memory, and nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from aiokafka.conn import AIOKafkaConnection
from aiokafka.protocol.produce import ProduceRequest

from ingest.log import DEAD, LogUnavailableError
from ingest.log.kafka_append import Appender
from ingest.log.kafka_record import Producer
from ingest.log.kafka_topic import RECORD_BYTES
from ingest.log.kafka_url import parse_kafka_url
from tests.ingest.log.makers import PARTITIONS, KafkaMaker, make_headers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aiokafka.protocol.api import Request, Response

    from ingest.log import Record
    from ingest.log.kafka import KafkaLog
    from ingest.log.kafka_wire import Wire
    from tests.servers.kafka import KafkaServer

MEGABYTE = 2**20
LONG = 60.0
SHORT_MS = 3000  # a deadline that is to be waited for, and in which a busy broker answers
REQUEST_TIMED_OUT = 7
EVERY = (*range(PARTITIONS), DEAD)


@contextmanager
def hanging(server: KafkaServer) -> Iterator[None]:
    """Let the broker hang for a while."""
    server.pause()
    try:
        yield
    finally:
        server.resume()


async def is_well(log: KafkaLog) -> bool:
    """Whether the log answers a ping."""
    try:
        await log.ping()
    except LogUnavailableError:
        return False
    return True


async def surely_read(log: KafkaLog, partition: int, position: int) -> Sequence[Record]:
    """Read, as often as it takes: what is said then must be true."""
    while True:
        try:
            return await log.read(partition, position, MEGABYTE)
        except LogUnavailableError:
            await asyncio.sleep(0)


class Load:
    """Appends to every partition without end, and remembers what was acknowledged and what was refused."""

    def __init__(self, log: KafkaLog) -> None:
        self.log = log
        self.acknowledged: dict[tuple[int, int], bytes] = {}
        self.refused: list[str] = []
        self.most_waiting = 0
        self.happened = asyncio.Event()
        self._tasks = [asyncio.create_task(self._append(partition, way)) for partition in EVERY for way in range(4)]

    async def until(self, acknowledged: int = 0, refused: int = 0) -> None:
        """Wait for so many more."""
        acknowledged += len(self.acknowledged)
        refused += len(self.refused)
        while len(self.acknowledged) < acknowledged or len(self.refused) < refused:
            self.happened.clear()
            async with asyncio.timeout(LONG):
                await self.happened.wait()

    async def stop(self) -> None:
        """No more; what is under way is not known."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _append(self, partition: int, way: int) -> None:
        number = 0
        while True:
            number += 1
            body = b"%d-%d-%d " % (partition, way, number) * 3000
            try:
                position = await self.log.append(partition, make_headers(), body)
            except LogUnavailableError as error:
                self.refused.append(str(error))
                await asyncio.sleep(0.01)  # a sender comes back later
            else:
                assert (partition, position) not in self.acknowledged
                self.acknowledged[partition, position] = body
            self.most_waiting = max(self.most_waiting, self.log.waiting_bytes)
            self.happened.set()

    async def missing(self) -> list[tuple[int, int]]:
        """What was acknowledged until now and does not stand where it was said."""
        acknowledged = dict(self.acknowledged)
        stored = await asyncio.gather(*(self._read_all(partition) for partition in EVERY))
        found = {place: body for part in stored for place, body in part.items()}
        return [place for place, body in acknowledged.items() if found.get(place) != body]

    async def _read_all(self, partition: int) -> dict[tuple[int, int], bytes]:
        stored: dict[tuple[int, int], bytes] = {}
        position = 0
        while records := await surely_read(self.log, partition, position):
            stored |= {(partition, record.position): record.body for record in records}
            position = records[-1].position + 1
        return stored


async def test_a_broker_killed_under_load_costs_nothing_that_was_acknowledged(kafka_server: KafkaServer) -> None:
    log = await KafkaMaker(f"kafka://{kafka_server.address}", deadline_ms=SHORT_MS, buffer_bytes=MEGABYTE).open()
    load = Load(log)
    await load.until(acknowledged=100)
    await asyncio.to_thread(kafka_server.kill)
    await load.until(refused=len(EVERY) * 4)
    assert not await is_well(log)
    starting = asyncio.create_task(asyncio.to_thread(kafka_server.start))
    assert await load.missing() == []  # a broker that has only just come back does not know how much it holds
    await starting
    await load.until(acknowledged=100)
    await load.stop()
    assert await load.missing() == []
    assert load.most_waiting <= MEGABYTE
    async with asyncio.timeout(LONG):
        while not await is_well(log):  # noqa: ASYNC110 - only asking tells
            await asyncio.sleep(0.05)
    await log.close()


async def test_a_broker_that_hangs_is_given_up_at_the_deadline_and_found_again(kafka_server: KafkaServer) -> None:
    log = await KafkaMaker(f"kafka://{kafka_server.address}", deadline_ms=SHORT_MS).open()
    assert await log.append(0, make_headers(), b"a") == 0
    with hanging(kafka_server):
        appends = (log.append(partition, make_headers(), b"b") for partition in EVERY)
        asks = (log.ping(), log.read(1, 0, 1), log.committed(), log.bounds(0), log.read_headers(2, 0))
        outcomes = await asyncio.gather(*appends, *asks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [LogUnavailableError] * 9
        assert [str(outcome).split(":")[0] for outcome in outcomes[:4]] == [
            "Kafka has not taken a block within 3 s"
        ] * 4
    load = Load(log)
    await load.until(acknowledged=50)
    await load.stop()
    assert await load.missing() == []
    await log.close()


async def test_no_more_than_so_many_bytes_wait(kafka_server: KafkaServer) -> None:
    log = await KafkaMaker(f"kafka://{kafka_server.address}", deadline_ms=SHORT_MS, buffer_bytes=2 * MEGABYTE).open()
    with hanging(kafka_server):
        tasks = [asyncio.create_task(log.append(number % 3, make_headers(), bytes(700_000))) for number in range(5)]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        refused = [task for task in tasks if task.done()]  # at once, before the others' deadline
        assert len(refused) == 3
        for task in refused:
            with pytest.raises(LogUnavailableError, match="bytes wait for Kafka already"):
                await task
        await asyncio.gather(*tasks, return_exceptions=True)
        with pytest.raises(LogUnavailableError, match="not taken a block within"):  # there is room again
            await log.append(0, make_headers(), bytes(700_000))
    await log.close()


async def test_a_block_that_no_topic_would_take_is_a_mistake(kafka_server: KafkaServer) -> None:
    log = await KafkaMaker(f"kafka://{kafka_server.address}").open()
    with pytest.raises(ValueError, match="at most 1000000 bytes"):
        await log.append(0, make_headers(), bytes(RECORD_BYTES))
    headers = len(make_headers().to_bytes()) + len(b"11")
    assert await log.append(0, make_headers(), bytes(RECORD_BYTES - headers)) == 0
    await log.close()


@pytest.mark.parametrize("sequence", [7, 2**31 - 1])
async def test_a_sequence_that_is_not_accepted_ends_with_its_batch(kafka_server: KafkaServer, sequence: int) -> None:
    log = await KafkaMaker(f"kafka://{kafka_server.address}").open()
    assert await log.append(0, make_headers(), b"a") == 0
    (lane,) = log._appender._lanes.values()  # noqa: SLF001 - no other way to be out of order
    lane._sequence = sequence  # noqa: SLF001
    with pytest.raises(LogUnavailableError, match="OUT_OF_ORDER_SEQUENCE"):
        await log.append(0, make_headers(), b"b")
    assert await log.append(0, make_headers(), b"c") == 1
    await log.close()


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed"), 1),
        (KeyError("nobody thought of it"), "nobody thought of it"),
    ],
)
async def test_a_batch_whose_answer_an_error_took_is_never_taken_for_the_next(
    kafka_server: KafkaServer, monkeypatch: pytest.MonkeyPatch, error: Exception, outcome: int | str
) -> None:
    log = await KafkaMaker(f"kafka://{kafka_server.address}").open()
    assert await log.append(0, make_headers(), b"a") == 0
    send, errors = AIOKafkaConnection.send, [error]

    async def lose(connection: AIOKafkaConnection, request: Request) -> Response:
        answer = await send(connection, request)
        if errors and isinstance(request, ProduceRequest):
            raise errors.pop()
        return answer

    monkeypatch.setattr(AIOKafkaConnection, "send", lose)
    (found,) = await asyncio.gather(log.append(0, make_headers(), b"b"), return_exceptions=True)
    assert found == outcome or (isinstance(found, LogUnavailableError) and str(outcome) in str(found))
    assert await log.append(0, make_headers(), b"c") == 2
    assert [record.body for record in await log.read(0, 0, MEGABYTE)] == [b"a", b"b", b"c"]
    await log.close()


async def test_a_sequence_counts_on_past_its_largest(kafka_server: KafkaServer) -> None:
    log = await KafkaMaker(f"kafka://{kafka_server.address}").open()
    await log.append(0, make_headers(), b"a")
    (lane,) = log._appender._lanes.values()  # noqa: SLF001 - nobody waits for two thousand million blocks
    lane._producer, lane._sequence = Producer(4_000_000, 0), 2**31 - 2  # noqa: SLF001 - a broker begins anywhere
    positions = await asyncio.gather(*(log.append(0, make_headers(), b"%d" % number) for number in range(4)))
    assert [await log.append(0, make_headers(), b"b") for _ in range(2)] == [5, 6]
    assert sorted(positions) == [1, 2, 3, 4]
    assert lane._producer == Producer(4_000_000, 0)  # noqa: SLF001 - every batch was accepted
    await log.close()


async def test_what_is_ready_together_goes_in_one_request(
    kafka_server: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await KafkaMaker(f"kafka://{kafka_server.address}").open()
    await asyncio.gather(*(log.append(partition, make_headers(), b"a") for partition in EVERY))
    send, sent = AIOKafkaConnection.send, []

    async def count(connection: AIOKafkaConnection, request: Request) -> Response:
        if isinstance(request, ProduceRequest):
            sent.append(sum(len(partitions) for _, partitions in request._topics))  # noqa: SLF001 - it tells no other way
        return await send(connection, request)

    monkeypatch.setattr(AIOKafkaConnection, "send", count)
    positions = await asyncio.gather(*(log.append(partition, make_headers(), b"b") for partition in EVERY))
    assert (sent, positions) == ([len(EVERY)], [1] * len(EVERY))
    assert [await log.append(0, make_headers(), b"c") for _ in range(20)] == list(range(2, 22))
    await log.close()


async def test_one_partition_that_refuses_does_not_hold_up_the_others(kafka_server: KafkaServer) -> None:
    log = await KafkaMaker(f"kafka://{kafka_server.address}").open()
    await asyncio.gather(*(log.append(partition, make_headers(), b"a") for partition in EVERY))
    next(iter(log._appender._lanes.values()))._sequence = 7  # noqa: SLF001 - no other way to be out of order
    appends = (log.append(partition, make_headers(), b"b") for partition in EVERY)
    outcomes = await asyncio.gather(*appends, return_exceptions=True)
    assert [isinstance(outcome, LogUnavailableError) or outcome for outcome in outcomes] == [
        True,
        *[1] * (len(EVERY) - 1),
    ]
    await log.close()


class SlowWire:
    """A broker whose partition 0 waits for a replica that has hung, and takes the rest at once."""

    def __init__(self) -> None:
        self.requests: list[list[int]] = []
        self.is_back = asyncio.Event()

    def leader(self, topic: str, partition: int) -> int:
        """Always the one broker."""
        del topic, partition
        return 1

    async def ask_any(self, request: Request) -> object:
        """A producer's number."""
        del request
        return SimpleNamespace(error_code=0, producer_id=1, producer_epoch=0)

    async def ask(self, node: int, request: ProduceRequest, lane: str, seconds: float) -> object:
        """Answer when all are on their replicas, or at the limit of the request."""
        del node, lane
        ((topic, batches),) = request._topics  # noqa: SLF001 - it tells no other way
        partitions = [partition for partition, _ in batches]
        self.requests.append(partitions)
        if 0 in partitions:
            async with asyncio.timeout(seconds):
                await asyncio.wait([asyncio.create_task(self.is_back.wait())], timeout=request._timeout / 1000)  # noqa: SLF001 - as above
        codes = {partition: 0 if partition or self.is_back.is_set() else REQUEST_TIMED_OUT for partition in partitions}
        return SimpleNamespace(topics=[(topic, [(partition, code, 0) for partition, code in codes.items()])])


async def test_a_partition_that_waits_for_a_replica_holds_up_the_others_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.log.kafka_send.TOGETHER_MS", 20)
    monkeypatch.setattr("ingest.log.kafka_append.PAUSE", 0)
    wire = SlowWire()
    appender = Appender(cast("Wire", wire), parse_kafka_url("kafka://h:1/t?partitions=4&deadline_ms=60000"))
    slow, *fast = (asyncio.create_task(appender.append("t", number, make_headers(), b"a")) for number in range(4))
    await asyncio.gather(*fast)
    while [0] not in wire.requests:  # noqa: ASYNC110 - sent again after a pause
        await asyncio.sleep(0)
    for _ in range(5):
        await asyncio.gather(*(appender.append("t", number, make_headers(), b"b") for number in (1, 2, 3)))
    assert not slow.done()
    assert wire.requests == [[0, 1, 2, 3], [0], *[[1, 2, 3]] * 5]
    wire.is_back.set()
    assert await slow == 0
    await appender.close()


async def test_close_ends_though_the_broker_hangs(kafka_server: KafkaServer) -> None:
    log = await KafkaMaker(f"kafka://{kafka_server.address}", deadline_ms=SHORT_MS).open()
    with hanging(kafka_server):
        waiting = asyncio.create_task(log.append(0, make_headers(), b"a"))
        await asyncio.sleep(0)
        await log.close()
        with pytest.raises(LogUnavailableError):
            await waiting


async def test_who_waits_while_the_broker_hangs_is_woken_when_it_goes_on(kafka_server: KafkaServer) -> None:
    log = await KafkaMaker(f"kafka://{kafka_server.address}", deadline_ms=SHORT_MS).open()
    with hanging(kafka_server):
        assert not await log.wait({0: 0}, 0.5)
        waiting = asyncio.create_task(log.wait({0: 0}, LONG))
        with pytest.raises(LogUnavailableError):
            await log.ping()
    load = Load(log)
    assert await waiting
    await load.stop()
    await log.close()
