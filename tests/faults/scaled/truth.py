"""What the warehouse holds, asked of itself and not of the product."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from schemas.warehouse.address import to_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.cluster.cluster import Cluster

SECONDS = 60.0
OUR_FAULT = frozenset({400, 404})
STORED = "SELECT pathname, count() AS rows FROM events WHERE startsWith(pathname, {prefix:String}) GROUP BY pathname"
TWICE = """
SELECT count() - uniqExact(_log, _partition, _offset, _place) AS by_position,
    countIf(event_id != 0) - uniqExactIf((site_id, event_id), event_id != 0) AS by_id
FROM events
"""
OWNERS = "SELECT _partition AS partition, max((epoch, owner)).2 AS owner FROM fences GROUP BY _partition"
RUNNING = "SELECT count() AS running FROM system.processes WHERE startsWith(Settings['log_comment'], {tag:String})"
ROWS = """
SELECT pathname, _log, _partition, _offset, _place, received, toString(event_id) AS event_id, local_date
FROM events WHERE pathname IN {paths:Array(String)} ORDER BY ALL
"""
FENCES = "SELECT * FROM fences ORDER BY taken, _partition"

Row = dict[str, object]


def ask_warehouse(cluster: Cluster, sql: str, parameters: Mapping[str, str], seconds: float = SECONDS) -> list[Row]:
    """Rows of a question; raise OSError when it is not answered, ValueError when it cannot be asked so."""
    address = to_address(cluster.settings["WAREHOUSE_URL"])
    scheme = "https" if address.secure else "http"
    values = {f"param_{name}": value for name, value in parameters.items()}
    query = urlencode({"database": address.database, "default_format": "JSONEachRow", **values})
    request = urllib.request.Request(  # noqa: S310 - the warehouse of the plan
        f"{scheme}://{address.hosts[0]}/?{query}",
        sql.encode(),
        {"X-ClickHouse-User": address.user, "X-ClickHouse-Key": address.password},
    )
    try:
        with urllib.request.urlopen(request, timeout=seconds) as response:  # noqa: S310 - as above
            return [json.loads(line) for line in response.read().splitlines()]
    except urllib.error.HTTPError as error:
        with error:
            text = error.read().decode(errors="replace")[:500]
        if error.code in OUR_FAULT:
            raise ValueError(text) from error
        raise


def read_stored(cluster: Cluster, prefix: str) -> Counter[str]:
    """How often each path that begins so is stored."""
    rows = ask_warehouse(cluster, STORED, {"prefix": prefix})
    return Counter({str(row["pathname"]): int(str(row["rows"])) for row in rows})


def read_twice(cluster: Cluster) -> Mapping[str, int]:
    """How many rows of all are too many: `by_position` and `by_id`."""
    (row,) = ask_warehouse(cluster, TWICE, {})
    return {name: int(str(count)) for name, count in row.items()}


def read_owners(cluster: Cluster) -> Mapping[int, str]:
    """Which member has taken over each log partition last; raise OSError."""
    rows = ask_warehouse(cluster, OWNERS, {}, 5.0)
    return {int(str(row["partition"])): str(row["owner"]).rpartition("-")[0] for row in rows}


def is_inserting(cluster: Cluster, member: str) -> bool:
    """Whether an insert of the member runs now; raise OSError."""
    (row,) = ask_warehouse(cluster, RUNNING, {"tag": f"pulse-insert:{member}-"}, 5.0)
    return int(str(row["running"])) > 0


def read_evidence(cluster: Cluster, paths: Iterable[str]) -> Sequence[str]:
    """The rows of some paths and everything about takeovers, as lines to keep; raise OSError."""
    listed = "[" + ",".join(f"'{path}'" for path in paths) + "]"
    rows = [*ask_warehouse(cluster, ROWS, {"paths": listed}), *ask_warehouse(cluster, FENCES, {})]
    return [json.dumps(row) for row in rows]
