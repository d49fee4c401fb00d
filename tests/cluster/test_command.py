"""What `scripts/cluster` makes of a folder that holds a cluster, or none."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from tests.cluster.__main__ import find_plan, read_options
from tests.cluster.cluster import PLAN, ClusterError, Plan

if TYPE_CHECKING:
    from pathlib import Path

URL = "clickhouse://pulse:s3cret@ch:8123/pulse"


@pytest.fixture(params=["", URL])
def known(request: pytest.FixtureRequest, tmp_path: Path) -> Plan:
    """The plan of a cluster that lies in `tmp_path`, with the door or a real ClickHouse."""
    plan = Plan(clickhouse=request.param)
    (tmp_path / PLAN).write_text(json.dumps(asdict(plan)))
    return plan


def find(folder: Path, *words: str) -> Plan:
    """The plan that a command finds."""
    return find_plan(read_options(["--folder", str(folder), *words]))


def test_a_cluster_that_is_there_is_started_as_it_is(tmp_path: Path, known: Plan) -> None:
    assert find(tmp_path, "start") == find(tmp_path, "status") == known
    assert find(tmp_path, "start", "--clickhouse", known.clickhouse) == known


def test_another_clickhouse_than_that_of_the_folder_is_refused(tmp_path: Path, known: Plan) -> None:
    with pytest.raises(ClusterError, match="another ClickHouse") as caught:
        find(tmp_path, "start", "--clickhouse", URL.replace("ch:", "elsewhere:"))
    assert str(caught.value).endswith(f"stop it and remove the folder {tmp_path}")
    assert "s3cret" not in str(caught.value)
    assert known == find(tmp_path, "start")


def test_only_a_start_makes_a_cluster(tmp_path: Path) -> None:
    assert find(tmp_path, "start", "--clickhouse", URL) == Plan(clickhouse=URL)
    assert find(tmp_path, "servers") == Plan()
    with pytest.raises(ClusterError, match="`scripts/cluster start` makes one"):
        find(tmp_path, "status")
