"""The door as a fixture: one for the whole run, started by the first test that wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.door.process import TiedDoor

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD = "a s:cr/t@%ß€"  # noqa: S105 - of a door that lives for one run; whatever URLs and headers have to escape


@pytest.fixture(scope="session")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TiedDoor]:
    """A running door. Whoever kills or pauses it starts it again; faults are cleared by those who set them."""
    with TiedDoor(tmp_path_factory.mktemp("door"), password=PASSWORD) as door:
        yield door


@pytest.fixture(scope="session")
def cluster_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TiedDoor]:
    """A running door that plays the cluster `pulse`."""
    with TiedDoor(tmp_path_factory.mktemp("cluster"), password=PASSWORD, cluster="pulse") as door:
        yield door
