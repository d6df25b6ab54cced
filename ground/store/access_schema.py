"""Tables of access and audit, made beside the ground's others."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import MetaData
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable

from ground.store import audit, tokens
from skyrack.storage import Storage

__all__ = ["make"]

_METADATA: Final = MetaData()
_TABLES: Final = (tokens.tables(_METADATA), audit.tables(_METADATA))


async def make(database: Storage[Any]) -> None:
    """Make the tables where they are not there yet."""
    step = ";\n".join(str(CreateTable(table).compile(dialect=sqlite.dialect())) for table in _TABLES)
    await database.migrate("access", [";\n".join((step, *audit.PROTECTION["sqlite"])) + ";"])
