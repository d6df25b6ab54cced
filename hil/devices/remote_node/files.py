"""The files of an area: what is there, what differs, and taking one in whole or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from hil.devices.remote_node.wire import CHUNK_BYTES, FileEntry
from skyrack.archive import entries_of, safe_name

_PARTIAL = ".partial"


def listing(directory: Path) -> tuple[FileEntry, ...]:
    """Every file below a directory, by name.

    Raises:
        ArchiveError: something in there is no regular file.
        OSError: a file cannot be read; one that went away meanwhile is such a file.
    """
    found = []
    for item in entries_of(directory):
        status = item.path.stat()
        found.append(
            FileEntry(
                path=item.name,
                size_bytes=status.st_size,
                sha256=digest(item.path),
                executable=bool(status.st_mode & 0o100),
            )
        )
    return tuple(found)


def digest(path: Path) -> bytes:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def mark(directory: Path) -> str:
    """Changes when a file below the directory does; cheap, because nothing is read."""
    seen = hashlib.sha256()
    for root, _, names in sorted(os.walk(directory)):
        for name in sorted(names):
            path = Path(root, name)
            try:
                status = path.lstat()
            except OSError:
                continue
            seen.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return seen.hexdigest()


def wanted(directory: Path, offered: Iterable[FileEntry]) -> tuple[FileEntry, ...]:
    """Which offered files are not there as offered; removes what is there and was not offered."""
    here = {entry.path: entry for entry in listing(directory)}
    names = {entry.path for entry in offered}
    for path in here.keys() - names:
        (directory / path).unlink(missing_ok=True)
    return tuple(entry for entry in offered if here.get(entry.path) != entry)


def take(directory: Path, entry: FileEntry, offset: int, data: bytes) -> bool:
    """Take a piece in; whether the file is complete now, and in its place.

    Raises:
        ArchiveError: the path leaves the directory.
        ValueError: a piece is missing, or the whole is not what was promised.
        OSError: it cannot be written.
    """
    target = directory / safe_name(entry.path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}{_PARTIAL}")
    with partial.open("r+b" if offset else "wb") as file:
        if file.seek(0, os.SEEK_END) < offset:
            raise ValueError(f"{entry.path}: the piece at {offset} came before the one in front of it")
        file.seek(offset)
        file.write(data)
        if offset + len(data) < entry.size_bytes:
            return False
        file.truncate()
        file.flush()
        os.fsync(file.fileno())
    if digest(partial) != entry.sha256:
        partial.unlink()
        raise ValueError(f"{entry.path}: what arrived is not what was announced: its SHA-256 differs")
    partial.chmod(0o755 if entry.executable else 0o644)
    partial.replace(target)
    return True


def piece(directory: Path, path: str, offset: int) -> bytes:
    """A piece of a file.

    Raises:
        ArchiveError: the path leaves the directory.
        OSError: it cannot be read.
    """
    with (directory / safe_name(path)).open("rb") as file:
        file.seek(offset)
        return file.read(CHUNK_BYTES)
