"""One broker for the whole test run; each test has topics of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers.kafka import KafkaServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A broker that is up. Whoever stops it starts it again."""
    with KafkaServer(tmp_path_factory.mktemp("kafka")) as server:
        yield server
