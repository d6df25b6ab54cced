"""Durable state from asyncio, whatever keeps it: transactions of one writer that share their commits.

``skyrack.database`` keeps it in SQLite; whoever brings another kind of database brings a ``Session``.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Generic, Protocol, TypeVar

__all__ = ["Connection", "GroupCommit", "Rows", "Session", "Storage", "StorageError"]

T = TypeVar("T")

_GROUP_LIMIT: Final = 256


class StorageError(Exception):
    """The database could not do what was asked. The message says why and what helps.

    Nothing of the transaction was kept; only where a server vanished while it committed, nobody can know.
    """


class Rows(Protocol):
    """What a statement found."""

    @property
    def rowcount(self) -> int:
        """Rows that an INSERT, UPDATE or DELETE changed."""

    def fetchone(self) -> Any:
        """The next row, or ``None``."""

    def fetchall(self) -> Sequence[Any]:
        """The rows that are left."""

    def close(self) -> None:
        """Leave the rest unread."""

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """What a transaction works on.

    SQL has ``:name`` parameters, and keeps to what SQLite 3.35 and PostgreSQL 15 both understand:
    ``ON CONFLICT (columns) DO …`` and ``RETURNING`` are such, ``INSERT OR …`` and ``MAX`` of two values are not.
    """

    def execute(self, sql: str, parameters: Mapping[str, Any] = ..., /) -> Rows:
        """Run one statement."""

    def executemany(self, sql: str, parameters: Sequence[Mapping[str, Any]], /) -> Rows:
        """Run one statement for each set of parameters."""


C = TypeVar("C")
C_co = TypeVar("C_co", covariant=True)


class Storage(Protocol[C_co]):
    """A database with one writer.

    Functions given to ``write`` and ``read`` may run in another thread: they may use their connection and their
    arguments, and must leave the event loop and its objects alone. They must not begin, commit or roll back by
    themselves.
    """

    async def write(self, transaction: Callable[[C_co], T]) -> T:
        """Run ``transaction`` and commit; durable when this returns.

        Raises what the transaction raised, or ``StorageError``; then nothing of it was kept. A caller that is
        cancelled while it waits does not know whether the transaction was committed.
        """

    async def read(self, query: Callable[[C_co], T]) -> T:
        """Run ``query``, which sees every write that has returned. Raises what it raised, or ``StorageError``."""

    async def migrate(self, component: str, steps: Sequence[str]) -> None:
        """Bring the component's tables to the newest form: run the SQL steps that have not been run here yet.

        Several components share one database; each numbers its own steps. A step is never changed once released.
        """

    async def close(self) -> None:
        """Finish what is waiting, then close. Harmless when called twice."""


Outcome = tuple[Any, BaseException | None]


class Session(ABC, Generic[C]):
    """One connection to a database, opened at first use and again after an error that may have broken it."""

    begin_sql = "BEGIN"

    @abstractmethod
    def get(self) -> C:
        """The connection, opened if need be; outside of a transaction unless one of ours is under way."""

    @abstractmethod
    def close(self) -> None:
        """Give the connection up."""

    @abstractmethod
    def statement(self, connection: C, sql: str) -> None:
        """Begin, commit, roll back, or the like of a part of a transaction."""

    @abstractmethod
    def in_transaction(self, connection: C) -> bool:
        """Whether a transaction is under way, failed or not."""

    @abstractmethod
    def translated(self, error: BaseException) -> BaseException:
        """A storage error in words where the database failed us; any other exception (a constraint, a bug) as it is."""

    def begin(self) -> C:
        """Begin a transaction."""
        connection = self.get()
        self.statement(connection, self.begin_sql)
        return connection

    def run(self, transactions: Sequence[Callable[[C], Any]]) -> list[Outcome]:
        """Run all in one transaction; each one's result or error, in order. One that fails leaves no trace."""
        try:
            connection = self.begin()
        except Exception as error:  # noqa: BLE001 - goes to every caller
            return [(None, self.translated(error))] * len(transactions)
        outcomes: list[Outcome] = []
        try:
            if len(transactions) == 1:
                outcomes.append((transactions[0](connection), None))
            else:
                outcomes.extend(self._nested(connection, transaction) for transaction in transactions)
            self.statement(connection, "COMMIT")
        except BaseException as error:
            self._roll_back(connection)
            if not isinstance(error, Exception):
                raise
            return [(None, self.translated(error))] * len(transactions)
        return outcomes

    def _nested(self, connection: C, transaction: Callable[[C], Any]) -> Outcome:
        self.statement(connection, "SAVEPOINT one")
        try:
            result = transaction(connection)
        except Exception as error:
            translated = self.translated(error)
            if isinstance(translated, StorageError) or not self.in_transaction(connection):
                raise
            self.statement(connection, "ROLLBACK TO one")
            self.statement(connection, "RELEASE one")
            return None, translated
        self.statement(connection, "RELEASE one")
        return result, None

    def _roll_back(self, connection: C) -> None:
        try:
            if self.in_transaction(connection):
                self.statement(connection, "ROLLBACK")
        except Exception:  # noqa: BLE001 - what is broken is opened anew
            self.close()

    def read(self, query: Callable[[C], T]) -> T:
        """Run a query outside of any transaction."""
        try:
            return query(self.get())
        except Exception as error:
            translated = self.translated(error)
            if translated is error:
                raise
            raise translated from error


class GroupCommit(Generic[C]):
    """A ``Storage`` over two sessions; transactions that wait at the same time share one commit.

    With one session for both every call runs inline, which is what the virtual loop needs. ``name`` stands in
    messages.
    """

    def __init__(self, name: str, writer: Session[C], reader: Session[C]) -> None:
        self.name = name
        self._writer = writer
        self._reader = reader
        self._write_thread: ThreadPoolExecutor | None = None
        self._read_thread: ThreadPoolExecutor | None = None
        if reader is not writer:
            self._write_thread = ThreadPoolExecutor(1, f"write {name}")
            self._read_thread = ThreadPoolExecutor(1, f"read {name}")
        self._waiting: list[tuple[Callable[[C], Any], asyncio.Future[Any]]] = []
        self._writing: asyncio.Future[Any] | None = None
        self._closed = False

    async def write(self, transaction: Callable[[C], T]) -> T:
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
            raise RuntimeError(f"{self.name}: the database is closed")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((transaction, future))
        if self._writing is None:
            self._commit_waiting()
        return await future

    async def read(self, query: Callable[[C], T]) -> T:
        """Run ``query``, which sees every write that has returned. Raises what it raised, or ``StorageError``."""
        if self._read_thread is None:
            return self._reader.read(query)
        return await asyncio.get_running_loop().run_in_executor(self._read_thread, self._reader.read, query)

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

        def done(outcomes: asyncio.Future[list[Outcome]]) -> None:
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
