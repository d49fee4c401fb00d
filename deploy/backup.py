"""`pulse backup`: one state of an embedded installation, taken while it runs.

The warehouse's parts get a second name between two batches (`admin_move.freeze`), a state of one moment that costs no
room; then files are copied, without the engine. The log's rest begins where that state ends. The control plane comes
last, so that it knows every site that the others speak of.
"""

from __future__ import annotations

import shutil
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, cast

import orjson

from deploy.asking import run_admin
from deploy.backup_files import ABOUT, MANIFEST, Hashing, is_file, refuse_little_room, remove, writing
from deploy.backup_log import copy_control, copy_rest
from deploy.copying_alone import working_alone
from deploy.terminal import CommandError, SettingError
from deploy.urls import refuse_wrong_urls
from ingest.log.open import parse_url
from schemas.control.connect import open_control
from schemas.control.errors import ControlUnusableError
from schemas.warehouse.address import to_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deploy.asking import Result
    from deploy.settings import Settings

FORMAT = 1
PREFIX = "pulse_backup_"
WAREHOUSE, CONTROL, LOG = "warehouse", "control.db", "log.db"
OF_SERVERS = "a backup is of the embedded form; back servers up by their own means (deploy/README.md says how)"
KEPT = ("metadata/*.sql", "store/*/*/*.sql", "store/*/*/format_version.txt")

Places = tuple[Path, Path, Path]  # folder of the warehouse, files of the control plane and of the log


async def back_up(
    settings: Settings, target: Path, tell: Callable[[int, int], None], *, with_log: bool
) -> dict[str, object]:
    """Make the backup and say what is in it; `tell` is called with bytes done and bytes in all. Raise CommandError."""
    places = find_places(settings, OF_SERVERS)
    refuse_target(target, settings.data)
    with working_alone(settings.data, "backup"):
        name = PREFIX + uuid.uuid4().hex
        with without_shadows(places[0] / "shadow"):
            frozen = await run_admin(settings, "backup-freeze", {"name": name}, None)
            return write_backup(places, name, frozen, Order(target, tell, with_log))


class Order:
    """What is wanted: where to, who is told, and whether the log's rest (addresses!) is part of it."""

    def __init__(self, target: Path, tell: Callable[[int, int], None], with_log: bool) -> None:  # noqa: FBT001
        self.target = target
        self.with_log = with_log
        self._tell = tell
        self._done = 0
        self.total = 0

    def note(self, size: int) -> None:
        """So many bytes more."""
        self._done += size
        self._tell(self._done, self.total)


def write_backup(places: Places, name: str, frozen: Result, order: Order) -> dict[str, object]:
    """Write the files, then the manifest."""
    warehouse, control, log = places
    extent = cast("dict[str, list[int]]", frozen["extent"])
    with empty_folder(order.target.with_name(f".{order.target.name}.staging")) as folder:
        refuse_little_room(folder, measure(log) if order.with_log else 0)
        rest = copy_rest(log, folder / LOG, dict(enumerate(extent["positions"]))) if order.with_log else 0
        copy_control(control, folder / CONTROL)
        files = list(find_files(warehouse, name)) + [(path, path.name) for path in sorted(folder.iterdir())]
        order.total = sum(path.stat().st_size for path, _ in files)
        refuse_little_room(folder, order.total)
        about = make_about(frozen, order, rest)
        with writing(order.target, order.note) as hashing:
            add_json(hashing, ABOUT, about)
            for path, called in files:
                hashing.add_file(path, called)
            links = {called: str(path.readlink()) for path, called in find_links(warehouse)}
            add_json(hashing, MANIFEST, {**frozen, "links": links, "files": dict(hashing.digests)})
    return about


def make_about(frozen: Result, order: Order, rest: int) -> dict[str, object]:
    """What is told of a backup, and looked at before anything of it is unpacked."""
    return {
        "format": FORMAT,
        "pulse": version("pulse-analytics"),
        "engine": version("chdb"),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "bytes": order.total,
        "events": frozen["events"],
        "migrations": frozen["migrations"],
        "log": order.with_log,
        "log_bytes": rest,
    }


def add_json(hashing: Hashing, name: str, value: object) -> None:
    """Add a file of JSON."""
    content = orjson.dumps(value, option=orjson.OPT_INDENT_2 if name == ABOUT else None)
    hashing.add(name, len(content), iter([content]))


def find_places(settings: Settings, refusal: str) -> Places:
    """Where the embedded parts are; raise SettingError, with that advice, which of them are servers."""
    refuse_wrong_urls(settings)
    try:
        engine = open_control(settings.control)
    except ControlUnusableError as error:
        raise SettingError(str(error)) from error
    kinds = {
        "PULSE_LOG_URL": settings.log.startswith("sqlite://"),
        "PULSE_WAREHOUSE_URL": settings.warehouse.startswith("chdb://"),
        "PULSE_CONTROL_URL": engine.dialect.name == "sqlite",
    }
    servers = [name for name, is_embedded in kinds.items() if not is_embedded]
    if servers:
        message = f"{', '.join(servers)}: {refusal}"
        raise SettingError(message)
    return to_folder(settings.warehouse), Path(str(engine.url.database)).absolute(), parse_url(settings.log)[0]


def refuse_target(target: Path, data: Path) -> None:
    """Raise CommandError where no backup can be made."""
    if target.exists():
        message = f"{target} is there already: name a new one"
        raise CommandError(message)
    if not target.parent.is_dir():
        message = f"there is no folder {target.parent}: make it"
        raise CommandError(message)
    if target.is_relative_to(data):
        message = f"{target} lies in the data folder {data}: choose another disk"
        raise CommandError(message)
    if not is_file(target) and target.suffix:
        message = f"{target}: write a folder's name, or one that ends in .tar or .tar.zst"
        raise CommandError(message)


@contextmanager
def empty_folder(folder: Path) -> Iterator[Path]:
    """A folder for its owner alone, which goes at the end; also one that a killed command left."""
    remove(folder)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        remove(folder)


@contextmanager
def without_shadows(shadow: Path) -> Iterator[None]:
    """Let go of the second names of parts, also of those that a killed command left."""
    remove_shadows(shadow)
    try:
        yield
    finally:
        remove_shadows(shadow)


def remove_shadows(shadow: Path) -> None:
    """Remove every frozen state that a backup made."""
    for folder in shadow.glob(f"{PREFIX}*"):
        shutil.rmtree(folder)


def find_files(warehouse: Path, name: str) -> Iterator[tuple[Path, str]]:
    """The files of the warehouse with their names in the backup: its definitions, and the frozen parts.

    Without `mutation_…`: what was to be deleted when the parts were frozen is deleted in them; what came after must
    not be done to them by an engine that opens the copy.
    """
    shadow = warehouse / "shadow" / name
    for root, patterns in ((warehouse, KEPT), (shadow, ("store/**/*",))):
        for pattern in patterns:
            for path in sorted(root.glob(pattern)):
                if path.is_file() and not path.is_symlink():
                    yield path, f"{WAREHOUSE}/{path.relative_to(root).as_posix()}"


def find_links(warehouse: Path) -> Iterator[tuple[Path, str]]:
    """Its links, which are relative."""
    for path in [*warehouse.glob("metadata/*"), *warehouse.glob("data/*/*")]:
        if path.is_symlink():
            yield path, f"{WAREHOUSE}/{path.relative_to(warehouse).as_posix()}"


def measure(log: Path) -> int:
    """At most so many bytes are in the log."""
    return sum(path.stat().st_size for path in log.parent.glob(f"{log.name}*"))
