"""Tables of key lists and of who has them; in the schema as those of ``ground.store.schema`` are."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, LargeBinary, Table

from ground.store.schema import METADATA, Name, number, seconds, text

__all__ = ["key_lists", "key_reports"]

key_lists: Final = Table(
    "key_lists",
    METADATA,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("order_id", Name, nullable=False, unique=True),
    Column("signed_order", LargeBinary, nullable=False),
    text("signed_by"),
    seconds("created_seconds"),
)

key_reports: Final = Table(
    "key_reports",
    METADATA,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("satellite", Name, primary_key=True),
    number("stage"),
    text("reason"),
    seconds("mission_time_seconds"),
)
