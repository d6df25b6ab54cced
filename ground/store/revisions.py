"""The count of all changes that people can see."""

from __future__ import annotations

from typing import Final

from sqlalchemy import insert, select, update

from ground.connection import Connection
from ground.store.schema import revisions

__all__ = ["begin", "next_revision"]

_NEXT: Final = update(revisions).values(revision=revisions.c.revision + 1).returning(revisions.c.revision)


def next_revision(connection: Connection) -> int:
    """Count a change; the numbers order all changes and are never used twice."""
    return int(connection.execute(_NEXT).scalar_one())


def begin(connection: Connection) -> None:
    """Make the count, in a new database."""
    if connection.execute(select(revisions.c.one)).first() is None:
        connection.execute(insert(revisions), {"one": 1, "revision": 0})
