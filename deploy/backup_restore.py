"""`pulse restore`: an empty data folder becomes what a backup holds, and the ledger proves it.

Everything is unpacked and verified in a folder of its own inside the data folder; only then it gets its names.
"""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, cast

import orjson

from deploy.backup import CONTROL, FORMAT, LOG, WAREHOUSE, find_places
from deploy.backup_files import ABOUT, MANIFEST, read_files, refuse_little_room, remove, sync_folder, unpack
from deploy.backup_log import give_own_identity
from deploy.copying_ledger import Cells, Extent, count_kinds, find_differences, find_open, from_list, read_cells
from deploy.lock import LOCK, holding
from deploy.private import working_in_private_folder
from deploy.terminal import CommandError, SettingError
from ingest.log.sqlite_file import connect, read_states
from ingest.salts import days_in_use
from schemas.warehouse.client import Warehouse
from schemas.warehouse.migrate import read_migrations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from deploy.settings import Settings

STAGING = ".restoring"
HARMLESS = frozenset({STAGING, LOCK, "lost+found", "geo"})
EVENTS = "SELECT count() AS found FROM events"
SAID = {"format": int, "pulse": str, "made": str, "migrations": list, "bytes": int, "log": bool}  # by every backup
INTO_FOLDER = "a backup is restored into the data folder: leave PULSE_LOG_URL, _WAREHOUSE_URL and _CONTROL_URL out"
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the backup says is in it."""

    about: Mapping[str, object]
    files: Mapping[str, str]
    links: Mapping[str, str]
    events: int
    extent: Extent
    cells: Cells
    log: int

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Of an unpacked backup; raise CommandError where it is not one."""
        try:
            about = orjson.loads((folder / ABOUT).read_bytes())
            found = orjson.loads((folder / MANIFEST).read_bytes())
            extent = Extent(**found["extent"])
            cells = from_list(found["cells"])
            return cls(about, found["files"], found["links"], found["events"], extent, cells, found["log"]["number"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = f"the backup is not whole: its {MANIFEST} cannot be read ({error!r})"
            raise CommandError(message) from error


async def restore(settings: Settings, backup: Path, tell: Callable[[int, int], None]) -> dict[str, object]:
    """Restore and say what is there now; raise CommandError, with nothing left behind, where the backup is not right.

    `tell` is called with bytes done and bytes in all.
    """
    about = refuse_foreign(backup)
    refuse_used(settings)
    data = settings.data
    with working_in_private_folder(data), holding(data):
        staging = data / STAGING
        remove(staging)
        staging.mkdir(mode=0o700)
        try:
            refuse_little_room(data, cast("int", about["bytes"]))
            manifest = unpack_surely(backup, staging, lambda done: tell(done, cast("int", about["bytes"])))
            figures = await verify(staging, manifest)
            if about["log"]:
                refuse_short_log(staging / LOG, manifest.extent.positions)
                give_own_identity(staging / LOG, staging / CONTROL, manifest.log)
            put_in_place(staging, data)
        finally:
            remove(staging)
    return {"restored": str(backup), "made": about["made"], "events": manifest.events, "log": about["log"], **figures}


def refuse_foreign(backup: Path) -> Mapping[str, object]:
    """What the backup says of itself; raise CommandError unless this program can restore it."""
    if not backup.exists():
        message = f"there is no {backup}"
        raise CommandError(message)
    files = read_files(backup)
    name, _, blocks = next(files, ("", 0, iter(())))
    if name != ABOUT:
        message = f"{backup} is no backup of Pulse: it does not begin with {ABOUT}"
        raise CommandError(message)
    about = read_about(backup, b"".join(blocks))
    files.close()
    unknown = set(cast("list[str]", about["migrations"])) - {name for name, _ in read_migrations()}
    if cast("int", about["format"]) > FORMAT or unknown:
        message = f"{backup} was made by a newer Pulse ({about['pulse']}): restore it with that one"
        raise CommandError(message)
    return about


def read_about(backup: Path, content: bytes) -> Mapping[str, object]:
    """What the file says; raise CommandError where it does not say all of it."""
    try:
        about = orjson.loads(content)
    except ValueError:
        about = None
    if not isinstance(about, dict) or not all(isinstance(about.get(name), kind) for name, kind in SAID.items()):
        message = f"{backup} is no backup of Pulse: its {ABOUT} does not say {', '.join(SAID)}"
        raise CommandError(message)
    return about


def refuse_used(settings: Settings) -> None:
    """Raise CommandError unless the data folder is empty and everything would be in it."""
    data = settings.data
    wanted = (data / WAREHOUSE, data / CONTROL, data / LOG)
    if find_places(settings, INTO_FOLDER) != wanted:
        raise SettingError(INTO_FOLDER)
    found = sorted(path.name for path in data.iterdir() if path.name not in HARMLESS) if data.exists() else []
    if found:
        message = f"{data} is not empty ({', '.join(found[:5])}): set PULSE_DATA to an empty folder"
        raise CommandError(message)


def unpack_surely(backup: Path, staging: Path, tell: Callable[[int], None]) -> Manifest:
    """Unpack; raise CommandError for what is missing, more than there was, or not as it was."""
    done = 0

    def note(size: int) -> None:
        nonlocal done
        done += size
        tell(done)

    digests = unpack(backup, staging, note)
    manifest = Manifest.read(staging)
    wanted = {**manifest.files, MANIFEST: digests.get(MANIFEST, "")}
    wrong = sorted(name for name in wanted.keys() | digests.keys() if wanted.get(name) != digests.get(name))
    if wrong:
        message = f"the backup is damaged: {', '.join(wrong[:5])} ({len(wrong)} files in all) are not what was written"
        raise CommandError(message)
    for name, target in manifest.links.items():
        path = staging / name
        if ".." in PurePosixPath(name).parts or PurePosixPath(target).is_absolute():
            message = f"the backup holds the link {name!r} to {target!r}, which leads out of its folder"
            raise CommandError(message)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
    return manifest


async def verify(staging: Path, manifest: Manifest) -> dict[str, object]:
    """Count what the restored warehouse holds; raise CommandError on any difference to the manifest."""
    warehouse = Warehouse(f"chdb:///{staging / WAREHOUSE}", 1)
    try:
        events = (await warehouse.query(EVENTS)).to_pylist()[0]["found"]
        cells = await read_cells(warehouse, manifest.extent)
    finally:
        await warehouse.close()
    problems = find_differences(manifest.cells, cells, ("backup", "restored")) + find_open(cells)
    if events != manifest.events:
        problems.append(f"events: backup {manifest.events}, restored {events}")
    if problems:
        raise CommandError(to_refusal(problems))
    hours = len({(site, hour) for site, hour, _, _ in cells})
    return {"verified": {"ledger_hours": hours, **count_kinds(cells)}}


def to_refusal(problems: Sequence[str]) -> str:
    """One line that names what differs."""
    more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    return f"not restored, the ledger differs: {'; '.join(problems[:SHOWN])}{more}"


def refuse_short_log(log: Path, positions: Sequence[int]) -> None:
    """Raise CommandError unless the log begins where the warehouse ends."""
    with closing(connect(log)) as connection:
        states = read_states(connection)
    for partition, position in enumerate(positions):
        if states[partition].start != position:
            message = (
                f"the backup's log begins at {states[partition].start} in partition {partition}, not at {position}"
            )
            raise CommandError(message)


def put_in_place(staging: Path, data: Path) -> None:
    """Give everything its name; the control plane last, without which nothing of it is seen."""
    (staging / WAREHOUSE / "status").unlink(missing_ok=True)
    for leftover in ("tmp", "shadow"):
        shutil.rmtree(staging / WAREHOUSE / leftover, ignore_errors=True)
    for name in (WAREHOUSE, LOG, CONTROL):
        if (staging / name).exists():
            (staging / name).rename(data / name)
    sync_folder(data)


def days_with_new_salts() -> list[str]:
    """The dates whose visitors count once more when they come again: their salts are in no backup."""
    today = datetime.now(UTC)
    return [day.isoformat() for day in days_in_use(int(today.timestamp() * 1000)) if day <= today.date()]
