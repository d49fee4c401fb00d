"""Who is let in: passwords and certificates against the real broker, and what is said of those that are wrong."""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from ingest.log import LogUnavailableError
from ingest.log.kafka import open_kafka_log
from ingest.log.open import open_log, prepare_log
from ingest.log.sqlite_room import Keeping
from tests.ingest.log.makers import Clock, KafkaMaker, make_headers
from tests.servers.kafka import PASSWORD, USER

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.kafka import KafkaServer

LOGIN = f"{USER}:{quote(PASSWORD, safe='')}@"
WRONG = "not-the-password"


@pytest.mark.parametrize("sasl", ["plain", "scram-sha-256", "scram-sha-512"])
@pytest.mark.parametrize("security", ["plaintext", "tls"])
async def test_a_password_lets_in(kafka_server: KafkaServer, security: str, sasl: str) -> None:
    tls = {"ca": str(kafka_server.certificate)} if security == "tls" else {}
    port = kafka_server.ports.sasl_tls if tls else kafka_server.ports.sasl
    maker = KafkaMaker(f"kafka://{LOGIN}127.0.0.1:{port}", security=security, sasl=sasl, **tls)
    log = await maker.open()
    assert await log.append(0, make_headers(), b"a") == 0
    share = await (await log.join("one")).next_share()
    await share.commit({0: 1})
    assert (await log.read(0, 0, 1))[0].body == b"a"
    await log.close()


async def test_a_password_comes_from_a_file(kafka_server: KafkaServer, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    door = f"kafka://{USER}@127.0.0.1:{kafka_server.ports.sasl}"
    log = await KafkaMaker(door, sasl="scram-sha-512", password_file=str(tmp_path / "password")).open()
    await log.ping()
    await log.close()


async def test_a_certificate_is_enough_without_a_password(kafka_server: KafkaServer) -> None:
    door = f"kafka://127.0.0.1:{kafka_server.ports.tls}"
    log = await KafkaMaker(door, security="tls", ca=str(kafka_server.certificate)).open()
    assert await log.append(0, make_headers(), b"a") == 0
    await log.close()


@pytest.mark.parametrize("sasl", ["plain", "scram-sha-256", "scram-sha-512"])
async def test_a_wrong_password_is_said_and_not_shown(kafka_server: KafkaServer, sasl: str) -> None:
    url = f"kafka://{USER}:{WRONG}@127.0.0.1:{kafka_server.ports.sasl}/events?sasl={sasl}"
    for attempt in (open_kafka_log, prepare_log):
        with pytest.raises(ValueError, match="does not accept the user 'pulse' with this password") as caught:
            await attempt(url)
        assert WRONG not in "".join(traceback.format_exception(caught.value))


async def test_a_certificate_that_is_not_trusted_is_refused(kafka_server: KafkaServer) -> None:
    with pytest.raises(ValueError, match=r"certificate is not trusted .* ca="):
        await open_kafka_log(f"kafka://127.0.0.1:{kafka_server.ports.tls}/events?security=tls")


async def test_a_file_that_is_no_certificate_is_refused(kafka_server: KafkaServer, tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("no certificate")
    with pytest.raises(ValueError, match="cannot be used for TLS"):
        await open_kafka_log(f"kafka://127.0.0.1:{kafka_server.ports.tls}/events?security=tls&ca={tmp_path / 'ca'}")


@pytest.mark.parametrize("security", ["plaintext", "tls"])
async def test_a_port_that_speaks_otherwise_says_what_to_look_at(kafka_server: KafkaServer, security: str) -> None:
    port = kafka_server.ports.tls if security == "plaintext" else kafka_server.ports.plain
    tls = f"&ca={kafka_server.certificate}" if security == "tls" else ""
    with pytest.raises((LogUnavailableError, ValueError), match="security="):
        await open_kafka_log(f"kafka://127.0.0.1:{port}/events?security={security}{tls}")


@pytest.mark.parametrize("host", ["127.0.0.1:1", "no-such-host.invalid:9092"])
async def test_a_broker_that_is_not_there_may_come(host: str) -> None:
    for attempt in (open_kafka_log, prepare_log):
        with pytest.raises(LogUnavailableError, match=f"Kafka cannot be used at {host}/events: {host}"):
            await attempt(f"kafka://{USER}:{WRONG}@{host}/events?sasl=plain")


async def test_one_broker_of_several_is_enough_to_begin_with(kafka_server: KafkaServer) -> None:
    log = await KafkaMaker(f"kafka://127.0.0.1:1,{kafka_server.address}").open()
    await log.ping()
    await log.close()


async def test_without_the_extra_it_is_said_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiokafka", None)
    with pytest.raises(ValueError, match=r"pulse-analytics\[kafka\]"):
        await open_log("kafka://broker/events", Keeping(), Clock())
    with pytest.raises(ValueError, match=r"pulse-analytics\[kafka\]"):
        await prepare_log("kafka://broker/events")
