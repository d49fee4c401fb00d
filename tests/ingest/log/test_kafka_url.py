"""URLs of topics: what they ask for, and what is said of those that are wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ingest.log.kafka_url import Access, parse_kafka_url
from ingest.log.open import prepare_log

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "s3cr:et@/?#%"  # noqa: S105 - a test's
ENCODED = "s3cr%3Aet%40%2F%3F%23%25"


def test_a_url_names_servers_topic_and_what_is_wanted() -> None:
    place = parse_kafka_url(
        "kafka://one,two:9093,[::1]:9094/site.events?partitions=24&replication=3&min_insync=2&compression=zstd"
        "&group=mine&session_ms=20000&deadline_ms=2500&buffer_bytes=1048576"
    )
    assert place.hosts == (("one", 9092), ("two", 9093), ("::1", 9094))
    assert (place.topic, place.dead_topic, place.group) == ("site.events", "site.events.dead", "mine")
    assert (place.partitions, place.replication, place.min_insync) == (24, 3, 2)
    assert (place.compression, place.session_ms, place.deadline, place.buffer_bytes) == ("zstd", 20_000, 2.5, 1 << 20)
    assert place.access.protocol == "PLAINTEXT"


def test_a_url_may_leave_everything_to_the_defaults() -> None:
    place = parse_kafka_url("kafka://broker/events")
    assert (place.group, place.partitions, place.compression) == ("pulse-events", None, "lz4")
    assert (place.session_ms, place.deadline) == (10_000, 5.0)


@pytest.mark.parametrize(
    ("options", "protocol", "mechanism"),
    [
        ("sasl=plain", "SASL_PLAINTEXT", "PLAIN"),
        ("sasl=scram-sha-256", "SASL_PLAINTEXT", "SCRAM-SHA-256"),
        ("sasl=scram-sha-512&security=tls", "SASL_SSL", "SCRAM-SHA-512"),
    ],
)
def test_a_user_and_an_encoded_password_stand_before_the_servers(options: str, protocol: str, mechanism: str) -> None:
    access = parse_kafka_url(f"kafka://some%40one:{ENCODED}@broker/events?{options}").access
    assert (access.user, access.password) == ("some@one", SECRET)
    assert (access.protocol, access.mechanism) == (protocol, mechanism)
    assert SECRET not in repr(access)


def test_secrets_come_from_files(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("password", "ca", "cert", "key")}
    for path in files.values():
        path.write_text(f"{SECRET}\n")
    access = parse_kafka_url(
        f"kafka://user@broker/events?security=tls&sasl=plain&password_file={files['password']}"
        f"&ca={files['ca']}&cert={files['cert']}&key={files['key']}"
    ).access
    assert access == Access(
        True,  # noqa: FBT003 - the first field is tls
        str(files["ca"]),
        str(files["cert"]),
        str(files["key"]),
        "PLAIN",
        "user",
        SECRET,
    )


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("kafka://broker:9092", "names no servers or no topic"),
        ("kafka:///events", "names no servers or no topic"),
        ("kafka://broker/a/b", "names no servers or no topic"),
        ("kafka://broker/ev%20ents", "names no servers or no topic"),
        ("kafka://broker:99999/events", "not host:port"),
        ("kafka://one,,two/events", "not host:port"),
        (f"kafka://user:{ENCODED},broker/events", "not host:port; in a password write %40 for @"),
        (f"kafka://user:{ENCODED}?x@broker/events", r"in a password write .*%3F for \?"),
        ("kafka://broker/events?partition=4", "partition is not understood; known is .*partitions, replication"),
        ("kafka://broker/events?partitions=4&partitions=5", "partitions is given twice"),
        ("kafka://broker/events?partitions=", "partitions= is empty"),
        ("kafka://broker/events?partitions=0", "partitions=0 is not a number from 1 to 65534"),
        ("kafka://broker/events?partitions=many", "partitions=many is not a number"),
        ("kafka://broker/events?compression=gzip", "compression=gzip is none of lz4, zstd"),
        ("kafka://broker/events?security=ssl", "security=ssl is none of plaintext, tls"),
        (f"kafka://user:{ENCODED}@broker/events", "add sasl="),
        ("kafka://user@broker/events?sasl=plain", "needs user:password@"),
        ("kafka://broker/events?sasl=plain", "needs user:password@"),
        ("kafka://broker/events?ca=/dev/null", "for security=tls"),
        ("kafka://broker/events?security=tls&ca=/no/such/file", "ca=/no/such/file cannot be read: No such file"),
        ("kafka://broker/events?security=tls&ca=/dev/null", "is empty"),
        ("kafka://broker/events?security=tls&key=/dev/null", "needs the certificate"),
        (f"kafka://user:{ENCODED}@broker/events?sasl=plain&password_file=/dev/null", "choose one"),
        ("kafka://user@broker/events?sasl=plain&password_file=/no/such", "password_file=/no/such cannot be read"),
    ],
)
def test_a_url_that_is_not_understood_says_what_is(url: str, what: str) -> None:
    with pytest.raises(ValueError, match=what) as caught:
        parse_kafka_url(url)
    assert SECRET not in str(caught.value)
    assert ENCODED not in str(caught.value)


async def test_a_file_needs_no_preparing() -> None:
    assert await prepare_log("sqlite:////var/log.db") == []
    with pytest.raises(ValueError, match=r"kafk://… is not understood; known is sqlite") as caught:
        await prepare_log(f"kafk://user:{ENCODED},broker/events")
    assert ENCODED not in str(caught.value)
