# mypy: disable-error-code="import-untyped"
"""Reading a topic: blocks, what others left there, headers from question to question, what comes later."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING

import pytest
from aiokafka.codec import lz4_decode
from aiokafka.record.util import calc_crc32c

from ingest.log import DEAD, LogDamagedError, LogUnavailableError
from ingest.log import kafka as log_module
from ingest.log import kafka_headers as headers_module
from ingest.log.kafka_record import FOREIGN, Producer, to_batch, to_entries, to_records
from schemas.event import BlockHeaders
from tests.ingest.log.kafka_tools import foreign_producer
from tests.ingest.log.makers import KafkaMaker, make_headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ingest.log import Record
    from ingest.log.kafka import KafkaLog
    from tests.servers.kafka import KafkaServer

MEGABYTE = 2**20
LONG = 30.0
OURS = make_headers().to_bytes()


@pytest.fixture
def topic(kafka_server: KafkaServer) -> KafkaMaker:
    """A topic of its own."""
    return KafkaMaker(f"kafka://{kafka_server.address}")


@pytest.fixture
async def log(topic: KafkaMaker) -> AsyncIterator[KafkaLog]:
    """An empty log."""
    log = await topic.open()
    yield log
    await log.close()


async def read_all(log: KafkaLog, partition: int, size: int) -> list[Record]:
    """Everything, in reads of this size."""
    found: list[Record] = []
    while records := await log.read(partition, found[-1].position + 1 if found else 0, size):
        found += records
    return found


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
@pytest.mark.parametrize("size", [1, 100_000, 3 * MEGABYTE])
async def test_many_blocks_are_read_on_and_on(kafka_server: KafkaServer, compression: str, size: int) -> None:
    log = await KafkaMaker(f"kafka://{kafka_server.address}", compression=compression).open()
    bodies = [b"%d " % number * 20_000 for number in range(40)]
    await asyncio.gather(*(log.append(0, make_headers(number), body) for number, body in enumerate(bodies, 1)))
    records = await read_all(log, 0, size)
    assert [record.position for record in records] == list(range(40))
    assert [record.body for record in records] == bodies
    assert [record.headers.lines for record in records] == list(range(1, 41))
    await log.close()


async def test_a_block_stands_after_those_acknowledged_before_it(log: KafkaLog) -> None:
    positions = [await log.append(0, make_headers(), b"%d" % number) for number in range(20)]
    assert positions == sorted(positions)


async def test_several_read_at_once_here_and_there(log: KafkaLog) -> None:
    await asyncio.gather(*(log.append(0, make_headers(), b"%d" % number * 1000) for number in range(100)))
    stored = [record.body for record in await read_all(log, 0, MEGABYTE)]

    async def read(begin: int, size: int) -> list[bytes]:
        found: list[bytes] = []
        while records := await log.read(0, begin + len(found), size):
            found += [record.body for record in records]
        return found

    begins = (0, 50, 7, 99, 100)
    found = await asyncio.gather(*(read(begin, size) for begin in begins for size in (1, 10_000, MEGABYTE)))
    assert found == [stored[begin:] for begin in begins for _ in range(3)]


async def test_a_read_that_is_cancelled_harms_no_other(log: KafkaLog) -> None:
    await log.append(0, make_headers(), b"a")
    tasks = [asyncio.create_task(log.read(0, 0, MEGABYTE)) for _ in range(4)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [[record.body for record in records] for records in outcomes[1::2] if isinstance(records, list)] == [
        [b"a"]
    ] * 2


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("v", b"1"), ("n", b"1")],
        [("block", OURS)],
        [("v", b"1"), ("n", b"1"), ("block", b"{}")],
        [("v", b"1"), ("n", b"1"), ("block", b"[]")],
        [("v", b"1"), ("n", b"1"), ("block", b"\xff")],
        [("v", b"1"), ("n", b"1"), ("block", b'{"v":"1","n":1,"a":0,"z":0,"c":[]}')],
        [("v", b"0"), ("n", b"1"), ("block", b'{"v":0,"n":1,"a":0,"z":0,"c":[]}')],
        [("v", b"1"), ("n", b"1"), ("block", b'{"v":1,"n":1,"a":0,"z":0,"c":[],"r":1}')],
    ],
)
async def test_a_message_that_is_not_ours_comes_out_as_such(
    log: KafkaLog, topic: KafkaMaker, kafka_server: KafkaServer, headers: list[tuple[str, bytes]]
) -> None:
    await log.append(0, make_headers(), b"before")
    async with foreign_producer(kafka_server.address) as producer:
        sent = await producer.send_and_wait(topic.topic, b"hello", partition=0, headers=headers)
    await log.append(0, make_headers(), b"after")
    records = await read_all(log, 0, MEGABYTE)
    assert [record.body for record in records] == [b"before", b"hello", b"after"]
    foreign = records[1].headers
    assert foreign == BlockHeaders(1, sent.timestamp, sent.timestamp, (), FOREIGN)
    assert [found.version for _, found in await log.read_headers(0, 0)] == [1, FOREIGN, 1]


async def test_a_message_without_a_value_is_an_empty_foreign_one(
    log: KafkaLog, topic: KafkaMaker, kafka_server: KafkaServer
) -> None:
    async with foreign_producer(kafka_server.address) as producer:
        await producer.send_and_wait(topic.topic, None, key=b"k", partition=0)
    (record,) = await log.read(0, 0, MEGABYTE)
    assert (record.body, record.headers.version) == (b"", FOREIGN)


async def test_transactions_of_others_hold_nothing_up(
    log: KafkaLog, topic: KafkaMaker, kafka_server: KafkaServer
) -> None:
    await log.append(0, make_headers(), b"a")
    async with foreign_producer(kafka_server.address, f"of {topic.topic}") as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic.topic, b"open", partition=0)
        assert await log.append(0, make_headers(), b"meanwhile") == 2
        assert [record.body for record in await read_all(log, 0, MEGABYTE)] == [b"a", b"open", b"meanwhile"]
        await producer.abort_transaction()
        assert await log.wait({0: 3}, LONG)  # the mark of the transaction's end has a position
    assert await log.append(0, make_headers(), b"b") == 4
    records = await read_all(log, 0, MEGABYTE)
    assert [record.headers.version for record in records] == [1, FOREIGN, 1, FOREIGN, 1]
    assert [position for position, _ in await log.read_headers(0, 2)] == [2, 3, 4]
    assert await log.wait({0: 4}, LONG)
    assert not await log.wait({0: 5}, 0.01)


def test_a_batch_with_names_that_are_no_text_is_foreign() -> None:
    data = bytearray(
        to_batch([((("name", b"x"),), b"a"), (to_entries(make_headers()), b"b")], "lz4", Producer(1, 0), 0, 7)
    )
    unpacked = uncompress(data)
    unpacked[unpacked.index(b"name") : unpacked.index(b"name") + 4] = b"\xff\xfe\xfd\xfc"
    records, behind = to_records(3, 0, resum(unpacked))
    assert [(record.partition, record.position, record.headers.version) for record in records] == [(3, 0, 0), (3, 1, 0)]
    assert behind == 2


def test_a_batch_that_is_not_what_was_written_is_damage() -> None:
    data = bytearray(to_batch([(to_entries(make_headers()), b"a")], "lz4", Producer(1, 0), 0, 7))
    data[-1] ^= 1
    with pytest.raises(LogDamagedError, match="batch at position 0 of log partition 3 is damaged"):
        to_records(3, 0, bytes(data))


def test_batches_before_one_that_is_damaged_are_read() -> None:
    sound = to_batch([(to_entries(make_headers()), b"a")], "lz4", Producer(1, 0), 0, 7)
    later = bytearray(to_batch([(to_entries(make_headers()), b"b")], "lz4", Producer(1, 0), 1, 7))
    struct.pack_into(">q", later, 0, 1)  # its position
    data = sound + bytes(later)
    assert [record.body for record in to_records(3, 0, data)[0]] == [b"a", b"b"]
    damaged = data[:-1] + bytes([data[-1] ^ 1])
    records, behind = to_records(3, 0, damaged)
    assert ([record.body for record in records], behind) == ([b"a"], 1)
    with pytest.raises(LogDamagedError, match="batch at position 1 of log partition 3 is damaged"):
        to_records(3, 1, damaged)


def test_a_batch_cut_off_at_the_end_is_left_for_the_next_fetch() -> None:
    data = to_batch([(to_entries(make_headers()), b"a")], "lz4", Producer(1, 0), 0, 7)
    assert to_records(0, 0, data[:-1]) == ([], 0)
    assert to_records(0, 0, data + data[:40])[1] == 1


def uncompress(batch: bytearray) -> bytearray:
    """The batch as its builder made it before compression."""
    return batch[:61] + bytearray(lz4_decode(bytes(batch[61:])))


def resum(batch: bytearray) -> bytes:
    """An uncompressed batch with the right sum and length."""
    struct.pack_into(">i", batch, 8, len(batch) - 12)
    struct.pack_into(">h", batch, 21, 0)
    struct.pack_into(">I", batch, 17, calc_crc32c(bytes(batch[21:])))
    return bytes(batch)


async def test_headers_are_kept_from_one_question_to_the_next(
    log: KafkaLog, topic: KafkaMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await topic.open()
    for number in range(1, 6):
        await log.append(0, make_headers(number), b"x" * 1000)
    everything = await log.read_headers(0, 0)
    monkeypatch.setattr(headers_module, "READ_BYTES", 1)  # one batch a fetch
    assert await log.read_headers(0, 2) == everything[2:]
    for number in range(6, 9):
        await other.append(0, make_headers(number), b"y")
    later = await log.read_headers(0, 3)
    assert [(position, headers.lines) for position, headers in later] == [(n, n + 1) for n in range(3, 8)]
    assert [position for position, _ in await log.read_headers(0, 0)] == list(range(8))  # back again
    await other.close()


async def test_more_headers_than_there_is_time_for_are_read_in_several_questions(
    log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 6):
        await log.append(0, make_headers(number), b"x")
    monkeypatch.setattr(headers_module, "READ_BYTES", 1)
    monkeypatch.setattr(headers_module, "SECONDS", -1.0)
    for number in range(1, 5):
        with pytest.raises(LogUnavailableError, match=f"read up to {number} of 5"):
            await log.read_headers(0, 0)
    assert [headers.lines for _, headers in await log.read_headers(0, 0)] == [1, 2, 3, 4, 5]


async def test_headers_do_not_fill_the_memory(log: KafkaLog, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, 6):
        await log.append(0, make_headers(number), b"x")
    monkeypatch.setattr(headers_module, "READ_BYTES", 1)
    monkeypatch.setattr(log_module, "MAX_KEPT", 15)
    for _ in range(2):
        with pytest.raises(LogUnavailableError, match="more than 5 headers"):
            await log.read_headers(0, 0)
    assert [position for position, _ in await log.read_headers(0, 3)] == [3, 4]


async def test_wait_is_woken_by_every_partition_dead_lines_too(log: KafkaLog, topic: KafkaMaker) -> None:
    other = await topic.open()
    for partition in (0, 1, 2, DEAD):
        waiting = asyncio.create_task(log.wait(dict.fromkeys((0, 1, 2, DEAD), 0) | {partition: 0}, LONG))
        mine = asyncio.create_task(log.wait({partition: 0}, LONG))
        await other.append(partition, make_headers(), b"a")
        assert await mine
        assert await waiting
    await other.close()


async def test_a_position_behind_the_end_is_waited_for(log: KafkaLog) -> None:
    waiting = asyncio.create_task(log.wait({0: 2}, LONG))
    for _ in range(2):
        await log.append(0, make_headers(), b"a")
    assert not waiting.done()
    await log.append(0, make_headers(), b"a")
    assert await waiting
