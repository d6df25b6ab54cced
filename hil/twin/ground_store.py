"""What the ground of a twin keeps while it is killed and started again."""

from __future__ import annotations

import sqlite3

from ground.database import Database
from ground.sqlite import SqliteSession
from ground.vault import Vault


class TwinGroundStore:
    """The ground's disk in virtual time: one database and one vault for all its lives."""

    def __init__(self) -> None:
        self.vault = Vault(None)
        self._session = _KeptSession()

    def database(self) -> Database:
        """The database, for one life of the ground."""
        return Database(None, self._session)

    def fill(self, *, full: bool) -> None:
        """Let the database grow no more (SQLite's own limit at its present size), or as it likes."""
        raw: sqlite3.Connection = self._session.get().raw
        # A bound below the present size is taken as the present size.
        raw.execute(f"PRAGMA max_page_count = {1 if full else 1_073_741_823}")
        self.vault.is_full = full


class _KeptSession(SqliteSession):
    def __init__(self) -> None:
        super().__init__(None, is_writer=True)

    def close(self) -> None:
        """What is on the disk stays there."""
