"""The shards of a cluster: one server stands for each, and takes all inserts and fences of its log partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from clickhouse_connect.driver.exceptions import ClickHouseError

from schemas.warehouse.address import refuse
from schemas.warehouse.server import to_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from schemas.warehouse.server import Server

SHARDS = """
SELECT shard_num, any(shard_weight) AS weight, countIf(is_local AND replica_num = 1) AS is_here
FROM system.clusters WHERE cluster = {cluster:String} GROUP BY shard_num ORDER BY shard_num
"""
PARTITION = "_partition"


def refuse_other_shards(servers: Sequence[Server], cluster: str) -> None:
    """Raise WarehouseError unless the servers are the first replicas of the cluster's shards, in their order."""
    for number, server in enumerate(servers, start=1):
        try:
            rows = server.client.query(SHARDS, {"cluster": cluster}).result_rows
        except ClickHouseError as error:
            refuse(f"the cluster cannot be read at {server.host}: {to_line(error)}", error)
        if not rows:
            refuse(f"the server at {server.host} knows no cluster {cluster!r}")
        if [shard for shard, *_ in rows] != list(range(1, len(servers) + 1)):
            refuse(
                f"the cluster {cluster} has {len(rows)} shards, and the URL names {len(servers)} servers: one of each"
            )
        if any(weight != 1 for _, weight, _ in rows):
            refuse(f"the shards of the cluster {cluster} must all have the weight 1: rows lie by log partition")
        if not rows[number - 1][2]:
            refuse(f"the server at {server.host} is not the first replica of shard {number} of the cluster {cluster}")


def split_by_shard(servers: Sequence[Server], rows: pa.Table) -> Iterator[tuple[Server, pa.Table]]:
    """The rows that belong to each server: by log partition, as the tables' sharding key says; without, the first's."""
    if len(servers) == 1 or PARTITION not in rows.column_names:
        yield servers[0], rows
        return
    places = rows.column(PARTITION).to_numpy() % len(servers)
    for place in np.unique(places).tolist():
        yield servers[place], rows.filter(pa.array(places == place))
