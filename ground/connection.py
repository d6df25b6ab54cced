"""What a transaction of the ground works on: SQLAlchemy's statements and plain SQL, in the same transaction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, cast, overload

import sqlalchemy
from sqlalchemy.engine import CursorResult

from skyrack.database import Rows

__all__ = ["Connection", "Parameters"]

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]
Found = CursorResult[*tuple[Any, ...]]


class Connection(ABC):
    """A connection whose transactions somebody else begins and ends.

    Statements of SQLAlchemy Core return its ``CursorResult``. SQL text, with ``:name`` parameters, goes to the driver
    as it is; ``skyrack.database.Connection`` says what it may say.
    """

    def __init__(self, core: sqlalchemy.Connection) -> None:
        self.core = core

    @overload
    def execute(self, statement: str, parameters: Mapping[str, Any] = ..., /) -> Rows: ...

    @overload
    def execute(self, statement: sqlalchemy.Executable, parameters: Parameters = ..., /) -> Found: ...

    def execute(self, statement: str | sqlalchemy.Executable, parameters: Parameters | None = None, /) -> Rows | Found:
        """Run one statement; several sets of parameters run it several times."""
        if isinstance(statement, str):
            return self.run_text(statement, cast("Mapping[str, Any] | None", parameters))
        found: Any = self.core.execute(statement, parameters)
        return cast("Found", found)

    @abstractmethod
    def executemany(self, sql: str, parameters: Sequence[Mapping[str, Any]], /) -> Rows:
        """Run SQL text for each set of parameters."""

    @abstractmethod
    def run_text(self, sql: str, parameters: Mapping[str, Any] | None) -> Rows:
        """Hand SQL text to the driver."""

    @abstractmethod
    def portable_ddl(self, script: str) -> str:
        """SQLite's data definition, as a component's migration steps have it, in this database's own words."""

    @property
    @abstractmethod
    def in_transaction(self) -> bool:
        """Whether a transaction is under way, failed or not."""
