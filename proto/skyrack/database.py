"""Durable state in one SQLite file, from asyncio.

A service's database is written by one thread, in transactions that are on the disk when ``write`` returns
(write-ahead log, ``synchronous=FULL``). Transactions that wait at the same time share one commit. Without a path the
database lives in memory and every call runs inline, which is what the virtual loop needs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from skyrack.storage import Connection, GroupCommit, Rows, Session, Storage, StorageError

__all__ = [
    "Connection",
    "Database",
    "MemorySession",
    "Rows",
    "SqliteError",
    "Storage",
    "StorageError",
    "Transaction",
    "open_sqlite",
    "run_steps",
    "sqlite_error",
    "statements",
]

T = TypeVar("T")
Transaction = Callable[[sqlite3.Connection], T]

_REASONS: Final = {
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space; nothing was lost, the write can be tried again"),
    sqlite3.SQLITE_READONLY: ("the database is read-only", "make the file and its directory writable"),
    sqlite3.SQLITE_CORRUPT: ("the database is damaged", "restore it from a copy, or move it away to start afresh"),
    sqlite3.SQLITE_NOTADB: ("the file is not an SQLite database", "move it away, or name another file"),
    sqlite3.SQLITE_CANTOPEN: ("the database cannot be opened", "check that the directory exists and is writable"),
    sqlite3.SQLITE_IOERR: ("reading or writing the disk failed", "check the disk; the write can be tried again"),
    sqlite3.SQLITE_BUSY: ("another process holds the database", "stop the other process"),
    sqlite3.SQLITE_LOCKED: ("another process holds the database", "stop the other process"),
}


class SqliteError(StorageError):
    """SQLite could not do what was asked; ``code`` is its primary result code (``sqlite3.SQLITE_FULL`` …)."""

    def __init__(self, path: Path | None, error: sqlite3.Error) -> None:
        self.path = path
        self.code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        reason, advice = _REASONS[self.code]
        super().__init__(f"{path or 'database in memory'}: {reason} ({error}); {advice}")


def sqlite_error(path: Path | None, error: BaseException) -> BaseException:
    """A storage error in words where SQLite failed us; any other exception (a constraint, a bug) as it is."""
    if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _REASONS:
        return SqliteError(path, error)
    return error


def open_sqlite(path: Path | None, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection whose commits are on the disk, for any one thread at a time. Raises ``sqlite3.Error``."""
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            unopened = sqlite3.OperationalError(str(error))
            unopened.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
            raise unopened from error
    connection = sqlite3.connect(
        path or ":memory:", isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        if path is not None:
            connection.execute("PRAGMA busy_timeout = 5000")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA query_only = {int(read_only)}")
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


class _SqliteSession(Session[sqlite3.Connection]):
    begin_sql = "BEGIN IMMEDIATE"

    def __init__(self, path: Path | None, *, read_only: bool = False) -> None:
        self._path = path
        self._read_only = read_only
        self._connection: sqlite3.Connection | None = None

    def get(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = open_sqlite(self._path, read_only=self._read_only)
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def statement(self, connection: sqlite3.Connection, sql: str) -> None:
        connection.execute(sql)

    def in_transaction(self, connection: sqlite3.Connection) -> bool:
        return connection.in_transaction

    def translated(self, error: BaseException) -> BaseException:
        return sqlite_error(self._path, error)


class MemorySession(_SqliteSession):
    """A session with a database in memory."""

    def __init__(self) -> None:
        super().__init__(None)


class Database(GroupCommit[sqlite3.Connection]):
    """One SQLite database with one writer; what ``Storage`` promises.

    ``session`` is for a database in memory that outlives this object.

    Functions given to ``write`` and ``read`` run in a thread of the database when it has a file: they may use their
    connection and their arguments, and must leave the event loop and its objects alone. They must not begin, commit
    or roll back by themselves.
    """

    def __init__(self, path: Path | None, session: MemorySession | None = None) -> None:
        self.path = path
        writer = session or _SqliteSession(path)
        super().__init__(
            path.name if path else "memory", writer, _SqliteSession(path, read_only=True) if path else writer
        )

    async def migrate(self, component: str, steps: Sequence[str]) -> None:
        """Bring the component's tables to the newest form: run the SQL steps that have not been run here yet.

        Several components share one database; each numbers its own steps. A step is never changed once released.
        """
        await self.write(lambda connection: run_steps(connection, str(self.path), component, steps))


def run_steps(connection: Connection, name: str, component: str, steps: Sequence[str]) -> None:
    """Run the SQL steps of a component that have not been run in this database, called ``name``, yet.

    Raises:
        ValueError: newer software wrote the tables.
    """
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_versions (component TEXT PRIMARY KEY, version INTEGER NOT NULL)"
    )
    parameters = {"component": component, "version": len(steps)}
    row = connection.execute("SELECT version FROM schema_versions WHERE component = :component", parameters).fetchone()
    done = row[0] if row else 0
    if done > len(steps):
        raise ValueError(
            f"{name}: the tables of {component} are version {done}, this software knows {len(steps)}; "
            "use the newer software that wrote it"
        )
    for step in steps[done:]:
        for statement in statements(step):
            connection.execute(statement)
    connection.execute(
        "INSERT INTO schema_versions VALUES (:component, :version)"
        " ON CONFLICT (component) DO UPDATE SET version = :version",
        parameters,
    )


def statements(script: str) -> list[str]:
    """The statements of an SQL script, without running it (``executescript`` would commit)."""
    found: list[str] = []
    pending = ""
    for part in script.split(";"):
        pending += part + ";"
        if sqlite3.complete_statement(pending):
            if pending.strip(" \n\t;"):
                found.append(pending)
            pending = ""
    return found
