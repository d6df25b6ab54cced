"""The ground's database in an SQLite file, or in memory."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

import sqlalchemy
from sqlalchemy.exc import DBAPIError

from ground.connection import Connection
from skyrack.database import open_sqlite, sqlite_error
from skyrack.storage import Rows, Session, StorageError

__all__ = ["SqliteConnection", "SqliteSession"]


class SqliteConnection(Connection):
    """A connection to an SQLite database."""

    def __init__(self, core: sqlalchemy.Connection, raw: sqlite3.Connection) -> None:
        super().__init__(core)
        self.raw = raw

    def run_text(self, sql: str, parameters: Mapping[str, Any] | None) -> Rows:
        return self.raw.execute(sql, parameters or {})

    def executemany(self, sql: str, parameters: Sequence[Mapping[str, Any]], /) -> Rows:
        return self.raw.executemany(sql, parameters)

    def portable_ddl(self, script: str) -> str:
        return script

    @property
    def in_transaction(self) -> bool:
        return self.raw.in_transaction


class SqliteSession(Session[Connection]):
    """A connection to an SQLite file. The writer's locks the file: a second ground would place jobs twice."""

    begin_sql = "BEGIN IMMEDIATE"

    def __init__(self, path: Path | None, *, is_writer: bool) -> None:
        self._path = path
        self._is_writer = is_writer
        self._engine = sqlalchemy.create_engine(
            "sqlite://",
            creator=lambda: open_sqlite(path, read_only=not is_writer),
            poolclass=sqlalchemy.NullPool,
            isolation_level="AUTOCOMMIT",
        )
        self._connection: SqliteConnection | None = None
        self._lock: IO[str] | None = None

    def get(self) -> SqliteConnection:
        if self._connection is None:
            if self._is_writer and self._path is not None and self._lock is None:
                self._lock = _locked(self._path)
            core = self._engine.connect()
            self._connection = SqliteConnection(core, cast("sqlite3.Connection", core.connection.driver_connection))
        return self._connection

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.core.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def statement(self, connection: Connection, sql: str) -> None:
        connection.run_text(sql, None)

    def in_transaction(self, connection: Connection) -> bool:
        return connection.in_transaction

    def translated(self, error: BaseException) -> BaseException:
        original = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        return sqlite_error(self._path, original)


def _locked(path: Path) -> IO[str]:
    """The lock of a database, held until it is closed or the process ends."""
    lock = path.with_name(f"{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("a")
    except OSError as error:
        raise StorageError(f"{lock}: cannot be opened ({error.strerror}); make its directory writable") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise StorageError(
            f"{path}: another ground runs on this database; stop it first, or give this one a state_dir of its own"
        ) from None
    return file
