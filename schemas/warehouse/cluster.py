"""The statements of one server, rewritten for a cluster: pure text, from the same migration files.

`events` becomes `events_local` on every server (ReplicatedMergeTree) and above it `events`, Distributed over the
shards: what reads or inserts by SELECT stays as it is, what alters or deletes goes to the local tables ON CLUSTER. A
table with log partitions lies on the shard of its partition, as a visitor does; another by site where Distributed
inserts by SELECT, and on the first shard where `split_by_shard` does. So all versions of a row lie on one shard, and
FINAL, which Distributed passes on, merges them there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LOCAL = "_local"
# Without a layer above it: rows that nobody reads.
ALONE = frozenset({"probe"})

# Reads go to the first replica of each shard, which is the one that is written to (`ServerHandle` checks that), and an
# insert is done when most replicas have it. A subquery over a Distributed table is answered once, for all shards.
PINNED_ON_CLUSTERS: Mapping[str, int | str] = {
    "distributed_foreground_insert": 1,
    "distributed_product_mode": "global",
    "load_balancing": "in_order",
    "prefer_localhost_replica": 1,
    "skip_unavailable_shards": 0,
    "insert_quorum": "auto",
}

CREATE = re.compile(
    r"CREATE TABLE IF NOT EXISTS (\w+)\s*(\(.*\)|AS \w+)\s*ENGINE = (\w+)(?:\(([^)]*)\))?(.*)", re.DOTALL
)
ALTER = re.compile(r"ALTER TABLE (\w+)\s+(.*)", re.DOTALL)
DELETE = re.compile(r"DELETE FROM (\w+)\s+(.*)", re.DOTALL)
WHOLE = re.compile(r"(TRUNCATE TABLE|OPTIMIZE TABLE|DROP TABLE) (\w+)(.*)", re.DOTALL)
DROP_DATABASE = re.compile(r"DROP DATABASE (\w+)(.*)", re.DOTALL)
COLUMNS_CHANGE = re.compile(r"(ADD|DROP|MODIFY|RENAME) COLUMN", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Cluster:
    """Rewrites for the cluster called `name`, where the tables are in `database`."""

    name: str
    database: str

    def rewrite(self, statement: str) -> Sequence[str]:
        """The statements for the cluster, in order; what needs no change is given as it is."""
        text = statement.strip()
        if found := CREATE.fullmatch(text):
            return self._create(found)
        if found := ALTER.fullmatch(text):
            return self._alter(found[1], found[2])
        if found := DELETE.fullmatch(text):
            return [f"DELETE FROM {to_local(found[1])} {self._everywhere} {found[2]}"]  # noqa: S608 - of ours
        if found := WHOLE.fullmatch(text):
            return self._whole(found[1], found[2], found[3])
        if found := DROP_DATABASE.fullmatch(text):
            return [f"DROP DATABASE {found[1]} {self._everywhere}{found[2]}"]
        return [statement]

    @property
    def _everywhere(self) -> str:
        return f"ON CLUSTER {self.name}"

    def _create(self, found: re.Match[str]) -> Sequence[str]:
        table, columns, engine, arguments, rest = found.groups(default="")
        if table in ALONE:
            source = re.sub(r"AS (\w+)", lambda name: f"AS {to_local(name[1])}", columns)
            return [f"CREATE TABLE IF NOT EXISTS {table} {self._everywhere} {source} ENGINE = {engine}"]
        local = to_local(table)
        path = f"'/clickhouse/{{database}}/{table}/{{shard}}', '{{replica}}'"
        values = ", ".join(filter(None, [path, arguments]))
        distributed = f"Distributed('{self.name}', '{self.database}', '{local}', {to_sharding_key(columns)})"
        head, end = f"CREATE TABLE IF NOT EXISTS {local} {self._everywhere} {columns}", without_deduplication(rest)
        return [
            f"{head} ENGINE = Replicated{engine}({values}){end}",
            f"CREATE TABLE IF NOT EXISTS {table} {self._everywhere} AS {local} ENGINE = {distributed}",
        ]

    def _alter(self, table: str, change: str) -> Sequence[str]:
        local = f"ALTER TABLE {to_local(table)} {self._everywhere} {change}"
        if table not in ALONE and COLUMNS_CHANGE.match(change):
            return [local, f"ALTER TABLE {table} {self._everywhere} {change}"]
        return [local]

    def _whole(self, verb: str, table: str, rest: str) -> Sequence[str]:
        local = f"{verb} {to_local(table)} {self._everywhere}{rest}"
        if verb == "DROP TABLE" and table not in ALONE:
            return [f"DROP TABLE {table} {self._everywhere}{rest}", local]
        return [local]


def to_local(table: str) -> str:
    """The table that holds the rows of one shard."""
    return table if table in ALONE else f"{table}{LOCAL}"


def to_sharding_key(columns: str) -> str:
    """What decides on which shard a row of a table with these columns lies."""
    return next((name for name in ("_partition", "site_id") if re.search(rf"\b{name}\b", columns)), "0")


def without_deduplication(rest: str) -> str:
    """The end of a CREATE, where a replicated table drops no insert that looks like an earlier one."""
    setting = "replicated_deduplication_window = 0"
    if re.search(r"\bSETTINGS\b", rest):
        return re.sub(r"\bSETTINGS\b", f"SETTINGS {setting},", rest, count=1)
    return f"{rest} SETTINGS {setting}"
