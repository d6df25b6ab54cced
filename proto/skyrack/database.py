"""Durable state in one SQLite file, from asyncio.

A service's database is written by one thread, in transactions that are on the disk when ``write`` returns
(write-ahead log, ``synchronous=FULL``). Transactions that wait at the same time share one commit. Without a path the
database lives in memory and every call runs inline, which is what the virtual loop needs.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

__all__ = ["Database", "StorageError", "Transaction"]

T = TypeVar("T")
Transaction = Callable[[sqlite3.Connection], T]

_GROUP_LIMIT: Final = 256
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


class StorageError(Exception):
    """The database could not do what was asked; nothing of the transaction was kept.

    ``code`` is SQLite's primary result code (``sqlite3.SQLITE_FULL`` …).
    """

    def __init__(self, path: Path | None, error: sqlite3.Error) -> None:
        self.path = path
        self.code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        reason, advice = _REASONS[self.code]
        super().__init__(f"{path or 'database in memory'}: {reason} ({error}); {advice}")


def _translated(path: Path | None, error: BaseException) -> BaseException:
    """A storage error in words where SQLite failed us; any other exception (a constraint, a bug) as it is."""
    if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _REASONS:
        return StorageError(path, error)
    return error


class _Connection:
    """One SQLite connection, opened at first use and again after an error that may have broken it."""

    def __init__(self, path: Path | None, *, read_only: bool = False) -> None:
        self._path = path
        self._read_only = read_only
        self._connection: sqlite3.Connection | None = None

    def get(self) -> sqlite3.Connection:
        if self._connection is None:
            if self._path is not None:
                try:
                    self._path.parent.mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    unopened = sqlite3.OperationalError(str(error))
                    unopened.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
                    raise unopened from error
            connection = sqlite3.connect(
                self._path or ":memory:", isolation_level=None, check_same_thread=False, cached_statements=256
            )
            try:
                if self._path is not None:
                    connection.execute("PRAGMA busy_timeout = 5000")
                    connection.execute("PRAGMA journal_mode = WAL")
                    connection.execute("PRAGMA synchronous = FULL")
                    connection.execute(f"PRAGMA query_only = {int(self._read_only)}")
                connection.execute("PRAGMA foreign_keys = ON")
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def run(self, transactions: Sequence[Transaction[Any]]) -> list[tuple[Any, BaseException | None]]:
        """Run all in one transaction; each one's result or error, in order. One that fails leaves no trace."""
        try:
            connection = self.get()
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            return [(None, _translated(self._path, error))] * len(transactions)
        outcomes: list[tuple[Any, BaseException | None]] = []
        try:
            if len(transactions) == 1:
                outcomes.append((transactions[0](connection), None))
            else:
                outcomes.extend(self._nested(connection, transaction) for transaction in transactions)
            connection.execute("COMMIT")
        except BaseException as error:
            self._roll_back(connection)
            if not isinstance(error, Exception):
                raise
            return [(None, _translated(self._path, error))] * len(transactions)
        return outcomes

    def _nested(self, connection: sqlite3.Connection, transaction: Transaction[Any]) -> tuple[Any, Exception | None]:
        connection.execute("SAVEPOINT one")
        try:
            result = transaction(connection)
        except Exception as error:
            if not connection.in_transaction or isinstance(_translated(self._path, error), StorageError):
                raise
            connection.execute("ROLLBACK TO one")
            connection.execute("RELEASE one")
            return None, error
        connection.execute("RELEASE one")
        return result, None

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self.close()

    def read(self, query: Transaction[T]) -> T:
        try:
            return query(self.get())
        except sqlite3.Error as error:
            translated = _translated(self._path, error)
            if translated is error:
                raise
            raise translated from error


class Database:
    """One SQLite database with one writer.

    Functions given to ``write`` and ``read`` run in a thread of the database when it has a file: they may use their
    connection and their arguments, and must leave the event loop and its objects alone. They must not begin, commit
    or roll back by themselves.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._writer = _Connection(path)
        self._reader = self._writer if path is None else _Connection(path, read_only=True)
        self._write_thread: ThreadPoolExecutor | None = None
        self._read_thread: ThreadPoolExecutor | None = None
        if path is not None:
            self._write_thread = ThreadPoolExecutor(1, f"write {path.name}")
            self._read_thread = ThreadPoolExecutor(1, f"read {path.name}")
        self._waiting: list[tuple[Transaction[Any], asyncio.Future[Any]]] = []
        self._writing: asyncio.Future[Any] | None = None
        self._closed = False

    async def write(self, transaction: Transaction[T]) -> T:
        """Run ``transaction`` and commit; durable when this returns.

        Raises what the transaction raised, or ``StorageError``; then nothing of it was kept. A caller that is
        cancelled while it waits does not know whether the transaction was committed.
        """
        if self._write_thread is None:
            ((result, error),) = self._writer.run((transaction,))
            if error is not None:
                raise error
            return result  # type: ignore[no-any-return]
        if self._closed:
            raise RuntimeError(f"{self.path}: the database is closed")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((transaction, future))
        if self._writing is None:
            self._commit_waiting()
        return await future

    async def read(self, query: Transaction[T]) -> T:
        """Run ``query``, which sees every write that has returned. Raises what it raised, or ``StorageError``."""
        if self._read_thread is None:
            return self._reader.read(query)
        return await asyncio.get_running_loop().run_in_executor(self._read_thread, self._reader.read, query)

    async def migrate(self, component: str, steps: Sequence[str]) -> None:
        """Bring the component's tables to the newest form: run the SQL steps that have not been run here yet.

        Several components share one database; each numbers its own steps. A step is never changed once released.
        """

        def transaction(connection: sqlite3.Connection) -> None:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS schema_versions (component TEXT PRIMARY KEY, version INTEGER NOT NULL)"
            )
            row = connection.execute("SELECT version FROM schema_versions WHERE component = ?", (component,)).fetchone()
            done = row[0] if row else 0
            if done > len(steps):
                raise ValueError(
                    f"{self.path}: the tables of {component} are version {done}, this software knows {len(steps)}; "
                    "use the newer software that wrote it"
                )
            for step in steps[done:]:
                for statement in _statements(step):
                    connection.execute(statement)
            connection.execute("INSERT OR REPLACE INTO schema_versions VALUES (?, ?)", (component, len(steps)))

        await self.write(transaction)

    async def close(self) -> None:
        """Finish what is waiting, then close. Harmless when called twice."""
        while self._writing is not None:
            await asyncio.wait([self._writing])
        if self._closed:
            return
        self._closed = True
        if self._write_thread is not None and self._read_thread is not None:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._read_thread, self._reader.close)
            await loop.run_in_executor(self._write_thread, self._writer.close)
            self._read_thread.shutdown(wait=False)
            self._write_thread.shutdown(wait=False)
        else:
            self._writer.close()

    def _commit_waiting(self) -> None:
        batch, self._waiting = self._waiting[:_GROUP_LIMIT], self._waiting[_GROUP_LIMIT:]
        self._writing = asyncio.get_running_loop().run_in_executor(
            self._write_thread, self._writer.run, [transaction for transaction, _ in batch]
        )

        def done(outcomes: asyncio.Future[list[tuple[Any, BaseException | None]]]) -> None:
            self._writing = None
            if self._waiting:
                self._commit_waiting()
            failure = asyncio.CancelledError() if outcomes.cancelled() else outcomes.exception()
            results = [(None, failure)] * len(batch) if failure is not None else outcomes.result()
            for (_, future), (result, error) in zip(batch, results, strict=True):
                if future.done():
                    continue
                if error is None:
                    future.set_result(result)
                else:
                    future.set_exception(error)

        self._writing.add_done_callback(done)


def _statements(script: str) -> list[str]:
    """The statements of an SQL script, without running it (``executescript`` would commit)."""
    statements: list[str] = []
    pending = ""
    for part in script.split(";"):
        pending += part + ";"
        if sqlite3.complete_statement(pending):
            if pending.strip(" \n\t;"):
                statements.append(pending)
            pending = ""
    return statements
