"""Where a backup goes and comes from: a folder, or one file `.tar` or `.tar.zst`; every file with its SHA-256.

Written under another name and renamed at the end, so that what has the name of a backup is one.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import sys
import tarfile
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from deploy.terminal import CommandError
from schemas.warehouse.room import KEPT_FREE

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

BLOCK = 1024**2
ABOUT, MANIFEST = "about.json", "manifest.json"
ENDINGS = (".tar", ".tar.zst")


class Sink(Protocol):
    """What takes the files of a backup; names are relative, with slashes."""

    def add(self, name: str, size: int, blocks: Iterator[bytes]) -> None:
        """Take one file."""


class Hashing:
    """Adds files to a sink, knows the digest of each and tells how many bytes went through."""

    def __init__(self, sink: Sink, tell: Callable[[int], None]) -> None:
        self._sink = sink
        self._tell = tell
        self.digests: dict[str, str] = {}

    def add_file(self, path: Path, name: str) -> None:
        """Add a file that does not change any more; OSError when it gets shorter all the same."""
        with path.open("rb") as file:
            self.add(name, os.fstat(file.fileno()).st_size, read_blocks(file))

    def add(self, name: str, size: int, blocks: Iterator[bytes]) -> None:
        """Add so many bytes."""
        digest = hashlib.sha256()

        def through() -> Iterator[bytes]:
            for block in blocks:
                digest.update(block)
                self._tell(len(block))
                yield block

        self._sink.add(name, size, through())
        self.digests[name] = digest.hexdigest()


class FolderSink:
    """Files in a folder, each durable."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, name: str, size: int, blocks: Iterator[bytes]) -> None:
        """Write the file, for its owner alone."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open_private(path) as file:
            for block in blocks:
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
            if file.tell() != size:
                raise_changed(name)


class TarSink:
    """Members of a tar."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar

    def add(self, name: str, size: int, blocks: Iterator[bytes]) -> None:
        """Write the member."""
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, 0o600
        reader = Blocks(blocks)
        self._tar.addfile(member, cast("BinaryIO", reader))
        if reader.read(1):
            raise_changed(name)


class Blocks:
    """Blocks as a file that is read from."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._block = io.BytesIO()

    def read(self, size: int) -> bytes:
        """So many bytes, fewer only at the end."""
        found = self._block.read(size)
        while len(found) < size and (block := next(self._blocks, b"")):
            self._block = io.BytesIO(block)
            found += self._block.read(size - len(found))
        return found


def raise_changed(name: str) -> None:
    """A file is not as long as it was."""
    message = f"{name} changed while it was copied"
    raise OSError(message)


def read_blocks(file: BinaryIO) -> Iterator[bytes]:
    """The rest of the file."""
    while block := file.read(BLOCK):
        yield block


def open_private(path: Path) -> BinaryIO:
    """A new file that only its owner may read."""
    return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")


def is_file(target: Path) -> bool:
    """Whether a backup of this name is one file."""
    return target.name.endswith(ENDINGS)


@contextmanager
def writing(target: Path, tell: Callable[[int], None]) -> Iterator[Hashing]:
    """A backup that has its name when the block ends well, and is gone when it does not; raise CommandError."""
    partial = target.with_name(f".{target.name}.partial")
    try:
        remove(partial)  # of one that was killed
        with opening(partial, target) as sink:
            yield Hashing(sink, tell)
        partial.rename(target)
        sync_folder(target.parent)
    except OSError as error:
        message = f"the backup {target} cannot be written: {error}"
        raise CommandError(message) from error
    finally:
        remove(partial)


@contextmanager
def opening(partial: Path, target: Path) -> Iterator[Sink]:
    """A sink; all that went in is durable when the block ends well."""
    if not is_file(target):
        partial.mkdir(mode=0o700)
        yield FolderSink(partial)
        for folder, _, _ in os.walk(partial):
            sync_folder(Path(folder))
        return
    with open_private(partial) as raw:
        with packing(raw, target.name) as packed, tarfile.open(fileobj=packed, mode="w|") as tar:
            yield TarSink(tar)
        raw.flush()
        os.fsync(raw.fileno())


def packing(raw: BinaryIO, name: str) -> AbstractContextManager[BinaryIO]:
    """What packs into `raw`, if the name says so."""
    return cast("BinaryIO", zstd.ZstdFile(raw, "w")) if name.endswith(".zst") else nullcontext(raw)


def unpacking(path: Path) -> AbstractContextManager[BinaryIO]:
    """What unpacks the file, if its name says so."""
    return cast("BinaryIO", zstd.ZstdFile(path)) if path.name.endswith(".zst") else path.open("rb")


def read_files(backup: Path) -> Generator[tuple[str, int, Iterator[bytes]], None, None]:
    """(name, size, blocks) of every file, the first is ABOUT; read the blocks before the next; raise CommandError."""
    try:
        yield from read_tar(backup) if is_file(backup) else read_folder(backup)
    except (OSError, EOFError, tarfile.TarError, zstd.ZstdError) as error:
        message = f"the backup {backup} cannot be read: {error}"
        raise CommandError(message) from error


def read_tar(backup: Path) -> Iterator[tuple[str, int, Iterator[bytes]]]:
    """The same of a file."""
    with unpacking(backup) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isreg() else None
            if file is None:
                message = f"the backup {backup} holds {member.name!r}, which is no file"
                raise CommandError(message)
            yield refuse_outside(member.name), member.size, read_blocks(cast("BinaryIO", file))


def read_folder(backup: Path) -> Iterator[tuple[str, int, Iterator[bytes]]]:
    """The same of a folder."""
    paths = [path for path in sorted(backup.rglob("*")) if not path.is_dir()]
    for path in sorted(paths, key=lambda path: path != backup / ABOUT):
        with path.open("rb") as file:
            yield path.relative_to(backup).as_posix(), path.stat().st_size, read_blocks(file)


def refuse_outside(name: str) -> str:
    """The name; raise CommandError where it leads out of the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        message = f"the backup holds {name!r}, which leads out of its folder"
        raise CommandError(message)
    return name


def unpack(backup: Path, folder: Path, tell: Callable[[int], None]) -> dict[str, str]:
    """Put every file into the folder, durable, and give their digests; raise CommandError."""
    hashing = Hashing(FolderSink(folder), tell)
    for name, size, blocks in read_files(backup):
        hashing.add(name, size, blocks)
    return hashing.digests


def refuse_little_room(folder: Path, needed: int) -> None:
    """Raise CommandError unless the disk of the folder has room for so many bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed + KEPT_FREE:
        message = (
            f"{needed >> 20} MiB are needed and {KEPT_FREE >> 20} MiB must stay free, {folder} has {free >> 20} MiB"
        )
        raise CommandError(message)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
