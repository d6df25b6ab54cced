"""The ground's database: SQLite by default, PostgreSQL by URL, the same for whoever uses it.

Functions given to ``write`` and ``read`` get a ``Connection``, on which statements of SQLAlchemy Core and portable SQL
text stand in one transaction. One ground at a time may write.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import sqlalchemy
from sqlalchemy.exc import ArgumentError

from ground.connection import Connection
from ground.sqlite import SqliteSession
from skyrack.database import run_steps
from skyrack.errors import UserError
from skyrack.storage import GroupCommit, Session, StorageError

__all__ = ["Connection", "Database", "StorageError", "Transaction", "database_url"]

T = TypeVar("T")
Transaction = Callable[[Connection], T]

_SCHEMES: Final = ("postgresql", "postgres")


def database_url(text: str) -> sqlalchemy.URL:
    """A PostgreSQL server's URL as a configuration names it.

    Raises:
        UserError: it is no such URL.
    """
    right = "must be like postgresql://user:password@host:5432/database; without one, SQLite is used"
    try:
        url = sqlalchemy.make_url(text)
    except ArgumentError:
        raise UserError(f"database: not a URL; {right}") from None
    if url.drivername not in _SCHEMES or not url.database:
        raise UserError(f"database: {url.render_as_string(hide_password=True)} {right}")
    return url


class Database(GroupCommit[Connection]):
    """One database with one writer; what ``skyrack.storage.Storage`` promises.

    ``target`` is an SQLite file, a PostgreSQL server's URL, or ``None``: in memory, where every call runs inline;
    ``session`` is for one in memory that outlives this object.
    """

    def __init__(self, target: Path | str | None, session: SqliteSession | None = None) -> None:
        writer: Session[Connection]
        reader: Session[Connection]
        if target is None:
            name = "memory"
            writer = reader = session or SqliteSession(None, is_writer=True)
        elif isinstance(target, Path):
            name = str(target)
            writer, reader = (SqliteSession(target, is_writer=is_writer) for is_writer in (True, False))
        else:
            url = database_url(target)
            name = url.render_as_string(hide_password=True)
            try:
                from ground.postgresql import PostgresqlSession
            except ImportError as error:
                raise UserError(
                    f"database: {name} needs psycopg ({error}); pip install 'skyrack[postgresql]'"
                ) from None
            writer, reader = (PostgresqlSession(url, is_writer=is_writer) for is_writer in (True, False))
        self.is_kept = target is not None
        super().__init__(name, writer, reader)

    async def migrate(self, component: str, steps: Sequence[str]) -> None:
        """Bring a component's tables to the newest form; steps are in SQLite's words, and run in those of this one."""
        await self.write(
            lambda connection: run_steps(
                connection, self.name, component, [connection.portable_ddl(step) for step in steps]
            )
        )
