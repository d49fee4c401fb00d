"""Applies the .sql files of this folder in order and records each; one that changed afterwards is refused.

Two processes may do so at once, or one again after it was cut short: every statement changes nothing when it is run
again, and a file that was recorded twice is recorded. Nothing is locked: the later of two that begin together runs the
statements that the other runs, too.
"""

from __future__ import annotations

import hashlib
import re
from importlib import resources
from typing import TYPE_CHECKING

from schemas.warehouse.errors import WarehouseError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from schemas.warehouse.client import Warehouse

RECORD = """
CREATE TABLE IF NOT EXISTS migrations (name String, digest String, applied DateTime('UTC') DEFAULT now())
ENGINE = MergeTree ORDER BY name SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
"""
REMEMBER = "INSERT INTO migrations (name, digest) SELECT {name:String}, {digest:String}"


async def migrate(warehouse: Warehouse) -> list[str]:
    """Bring the warehouse up to date and name the files that were applied now.

    Raise WarehouseError for a file that changed since, and for a warehouse that a newer Pulse has migrated.
    """
    await warehouse.command(RECORD)
    rows = (await warehouse.query("SELECT name, digest FROM migrations ORDER BY name")).to_pylist()
    known = {row["name"]: row["digest"] for row in rows}
    applied = []
    migrations = read_migrations()
    refuse_newer(known, [name for name, _ in migrations])
    for name, text in migrations:
        digest = hashlib.sha256(text.encode()).hexdigest()
        if name in known:
            refuse_changed(name, known[name], digest)
            continue
        for statement in split_statements(text):
            await warehouse.command(statement)
        parameters = {"name": name, "digest": digest}
        await warehouse.command(REMEMBER, parameters)
        applied.append(name)
    return applied


def read_migrations() -> list[tuple[str, str]]:
    """(file name, text) of every migration in order."""
    files = [item for item in resources.files("schemas.warehouse").iterdir() if item.name.endswith(".sql")]
    return [(item.name, item.read_text()) for item in sorted(files, key=lambda item: item.name)]


def split_statements(text: str) -> list[str]:
    """The statements of a file without their comments; a semicolon ends one."""
    bare = re.sub(r"--[^\n]*", "", text)
    return [statement.strip() for statement in bare.split(";") if statement.strip()]


def refuse_newer(known: Iterable[str], ours: Sequence[str]) -> None:
    """Raise WarehouseError when the warehouse has been through migrations that this program does not have."""
    newer = sorted(set(known) - set(ours))
    if newer:
        message = (
            f"the warehouse is newer than this program: it has been through {', '.join(newer)}, "
            f"the last one known here is {ours[-1]}; run a Pulse at least as new as the one that did that"
        )
        raise WarehouseError(message)


def refuse_changed(name: str, applied: str, found: str) -> None:
    """Raise WarehouseError when a migration is not the one that was applied."""
    if applied != found:
        message = (
            f"migration {name} changed after it was applied: {applied[:12]} was, {found[:12]} is; write a new file"
        )
        raise WarehouseError(message)
