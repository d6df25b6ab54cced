"""Tar archives that are equal to the last byte for equal content, and that unpack nowhere but where they should.

Packages of jobs go up and outputs come down in them. They hold regular files and nothing else: no links, no
devices, no owners, no times.
"""

from __future__ import annotations

import io
import stat
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from skyrack.errors import UserError

__all__ = ["ArchiveError", "Entry", "entries_of", "pack", "safe_name", "unpack"]

_BLOCK = 1 << 20


class ArchiveError(UserError):
    """An archive, or what should go into one, is not acceptable; the message says what and why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of an archive: its name in there, and where its content lies."""

    name: str
    path: Path


def safe_name(name: str) -> str:
    """The normal form of a relative path that stays where it is unpacked.

    Raises:
        ArchiveError: the path is absolute, climbs with "..", is empty, or is no UTF-8.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or name.startswith(("/", "~")):
        raise ArchiveError(f'"{name}" is an absolute path; name files relative to their directory')
    if ".." in path.parts or "\0" in name:
        raise ArchiveError(f'"{name}" leaves its directory; put the file inside')
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ArchiveError(f"{name!a} holds bytes that are no UTF-8; rename the file") from None
    if not path.parts:
        raise ArchiveError(f'"{name}" names no file')
    return str(path)


def entries_of(directory: Path, prefix: str = "") -> Iterator[Entry]:
    """Every file under a directory, by name, sorted.

    Raises:
        ArchiveError: something in there is not a regular file, or links out.
    """
    root = directory.resolve()
    for path in sorted(directory.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        try:
            inside = path.resolve().is_relative_to(root)
        except (OSError, RuntimeError):  # a link that leads to itself; which of the two depends on Python's version
            inside = False
        if not inside:
            raise ArchiveError(f"{path} links out of {directory}, or to itself; copy what it points to")
        if not path.is_dir():
            yield Entry(prefix + path.relative_to(directory).as_posix(), path)


def pack(entries: Iterable[Entry], limit_bytes: int) -> bytes:
    """A tar of the files, sorted by name; only whether the owner may execute a file is kept of its mode.

    Raises:
        ArchiveError: a file is missing, is not a regular file, or all together exceed ``limit_bytes``.
    """
    buffer = io.BytesIO()
    total = 0
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        previous = ""
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name == previous:
                raise ArchiveError(f'two files would both be "{entry.name}" in the archive; rename one')
            previous = entry.name
            try:
                status = entry.path.stat()
                if not stat.S_ISREG(status.st_mode):
                    raise ArchiveError(f"{entry.path} is not a regular file; only files can go along")
                total += status.st_size
                if total > limit_bytes:
                    raise ArchiveError(
                        f"{entry.path}: with this file the archive is over {limit_bytes:,} bytes; send less"
                    )
                content = entry.path.read_bytes()
            except OSError as error:
                raise ArchiveError(f"{entry.path} cannot be read ({error.strerror})") from error
            try:
                archive.addfile(
                    _member(entry.name, len(content), executable=bool(status.st_mode & 0o100)), io.BytesIO(content)
                )
            except ValueError as error:
                raise ArchiveError(f'"{entry.name}" is too long a name; 255 characters are the most') from error
    return buffer.getvalue()


def _member(name: str, size: int, *, executable: bool) -> tarfile.TarInfo:
    member = tarfile.TarInfo(safe_name(name))
    member.size = size
    member.mode = 0o755 if executable else 0o644
    return member


def unpack(archive: Path | bytes, directory: Path, limit_bytes: int) -> list[str]:
    """Write the files of a tar into a directory (made if missing); their names, in the archive's order.

    Nothing is written when the archive is not acceptable as a whole.

    Raises:
        ArchiveError: not a tar, a member that is not a plain file or leaves the directory, or more than
            ``limit_bytes`` of content.
    """
    source = io.BytesIO(archive) if isinstance(archive, bytes) else archive.open("rb")
    with source:
        try:
            with tarfile.open(fileobj=source, mode="r:") as opened:
                members = list(_acceptable(opened, limit_bytes))
                for name, member in members:
                    target = directory / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    content = opened.extractfile(member)
                    if content is None:
                        raise ArchiveError(f'"{name}" has no content')
                    with content, target.open("wb") as output:
                        while block := content.read(_BLOCK):
                            output.write(block)
                    target.chmod(0o755 if member.mode & 0o100 else 0o644)
        except tarfile.TarError as error:
            raise ArchiveError(f"this is not a tar archive that we can read ({error})") from error
        except OSError as error:
            raise ArchiveError(f"{directory}: cannot unpack ({error.strerror})") from error
    directory.mkdir(parents=True, exist_ok=True)
    return [name for name, _ in members]


def _acceptable(opened: tarfile.TarFile, limit_bytes: int) -> Iterator[tuple[str, tarfile.TarInfo]]:
    total = 0
    for member in opened:
        name = safe_name(member.name)
        if member.isdir():
            continue
        if not member.isreg():
            raise ArchiveError(f'"{member.name}" is not a regular file; links and devices are refused')
        total += member.size
        if total > limit_bytes:
            raise ArchiveError(f"the archive holds more than {limit_bytes:,} bytes")
        yield name, member
