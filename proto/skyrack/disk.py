"""What a board keeps over a restart: small files that are replaced as a whole, and databases.

On a board that is a directory. In virtual time it is a :class:`MemoryDisk`, which outlives the tasks that stand for
processes: each process mounts it anew, and what is killed has no hand on it any more.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, NoReturn, Protocol, TypeVar, cast

from skyrack.database import Database, MemorySession, open_sqlite

__all__ = ["Disk", "HostDisk", "HostFile", "KeptFile", "MemoryDisk", "Mount", "Shelf"]

T = TypeVar("T")

_UNBOUNDED_PAGES: Final = 1_073_741_823
"""SQLite's own default for ``max_page_count``."""


class KeptFile(Protocol):
    """A small file that is read and replaced as a whole. ``str`` of it is its name, for sentences."""

    def read(self) -> bytes | None:
        """What is in it; ``None`` when there is none. Raises ``OSError``."""
        ...

    def replace(self, content: bytes) -> None:
        """Write it whole or not at all; it is on the disk when this returns.

        Raises:
            OSError: the disk is full or broken; the file is as it was.
        """
        ...


class Disk(Protocol):
    """Where a process keeps what outlives it. Names may have directories in them."""

    def file(self, name: str) -> KeptFile:
        """A small file, which need not exist."""
        ...

    def database(self, name: str) -> Database:
        """A database, which need not exist; its only writer is who asks for it."""
        ...


class HostFile:
    """A file of the host."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def read(self) -> bytes | None:
        """What is in it; ``None`` when there is none. Raises ``OSError``."""
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None

    def replace(self, content: bytes) -> None:
        """Write it whole or not at all. Raises ``OSError``."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
        # Without this the power may take the new name away again.
        directory = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


class HostDisk:
    """A directory of the host."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def file(self, name: str) -> HostFile:
        """A small file in it."""
        return HostFile(self._directory / name)

    def database(self, name: str) -> Database:
        """A database in it."""
        return Database(self._directory / name)


class MemoryDisk:
    """The disk of one board in virtual time.

    While it is ``full``, SQLite's own limit (``PRAGMA max_page_count`` at the size that a database has) lets nothing
    grow: a transaction that needs a page more ends with SQLITE_FULL, one that finds room in free pages goes through, as
    on a real disk. Files are written beside what they replace, so that none of them fits any more.
    """

    def __init__(self) -> None:
        self._connections: dict[str, sqlite3.Connection] = {}
        self._files: dict[str, bytes] = {}
        self._shelves: dict[str, Any] = {}
        self._full = False

    def mount(self) -> Mount:
        """A process's hand on it."""
        return Mount(self)

    @property
    def full(self) -> bool:
        """Whether nothing more fits."""
        return self._full

    @full.setter
    def full(self, full: bool) -> None:
        self._full = full
        for connection in self._connections.values():
            _bound(connection, full=full)

    def connection(self, name: str) -> sqlite3.Connection:
        """The database of this name, opened once for all its lives."""
        if name not in self._connections:
            self._connections[name] = open_sqlite(None)
            _bound(self._connections[name], full=self._full)
        return self._connections[name]

    def read(self, name: str) -> bytes | None:
        """A file."""
        return self._files.get(name)

    def write(self, name: str, content: bytes) -> None:
        """Replace a file. Raises ``OSError`` when nothing more fits."""
        self.require_space()
        self._files[name] = content

    def shelf(self, name: str, empty: T) -> T:
        """What stands for a directory of files: any container, ``empty`` when it is first asked for."""
        return cast("T", self._shelves.setdefault(name, empty))

    def require_space(self) -> None:
        """Raises ``OSError`` when nothing more fits."""
        if self._full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Mount:
    """A process's hand on a :class:`MemoryDisk`; after ``cut`` it moves nothing any more."""

    def __init__(self, disk: MemoryDisk) -> None:
        self.disk = disk
        self._is_cut = False

    def cut(self) -> None:
        """The process is dead: whatever of it still unwinds writes nothing."""
        self._is_cut = True

    def file(self, name: str) -> KeptFile:
        """A small file."""
        return _MemoryFile(self, name)

    def database(self, name: str) -> Database:
        """A database."""
        return Database(None, _Session(self, name))

    def shelf(self, name: str, empty: T) -> Shelf[T]:
        """What stands for a directory of files: a container that outlives the process, ``empty`` at first."""
        return Shelf(self.disk.shelf(name, empty), self.require_space)

    def require_space(self) -> None:
        """Before something is put on a shelf. Raises ``OSError`` when nothing more fits, or the process is dead."""
        self.check()
        self.disk.require_space()

    def check(self) -> None:
        """Raises ``OSError`` when the process is dead."""
        if self._is_cut:
            raise OSError(errno.EIO, "the process was killed")


@dataclass(frozen=True, slots=True)
class Shelf(Generic[T]):
    """A directory of files as a container of what is in them; ask ``require_space`` before putting something in."""

    content: T
    require_space: Callable[[], None] = lambda: None


class _MemoryFile:
    def __init__(self, mount: Mount, name: str) -> None:
        self._mount = mount
        self._name = name

    def __str__(self) -> str:
        return self._name

    def read(self) -> bytes | None:
        return self._mount.disk.read(self._name)

    def replace(self, content: bytes) -> None:
        self._mount.check()
        self._mount.disk.write(self._name, content)


class _Session(MemorySession):
    """The connection stays with the disk when its session closes."""

    def __init__(self, mount: Mount, name: str) -> None:
        super().__init__()
        self._mount = mount
        self._name = name

    def get(self) -> sqlite3.Connection:
        try:
            self._mount.check()
        except OSError as error:
            _fail(error)
        return self._mount.disk.connection(self._name)

    def close(self) -> None:
        """What is on the disk stays there."""


def _fail(error: OSError) -> NoReturn:
    failed = sqlite3.OperationalError(str(error))
    failed.sqlite_errorcode = sqlite3.SQLITE_IOERR
    raise failed


def _bound(connection: sqlite3.Connection, *, full: bool) -> None:
    # A bound below the present size is taken as the present size.
    connection.execute(f"PRAGMA max_page_count = {1 if full else _UNBOUNDED_PAGES}")
