"""Inserting what may be there already, in words that both databases understand."""

from __future__ import annotations

# SQLite took its ON CONFLICT from PostgreSQL, and SQLAlchemy writes the one for the other as well.
from sqlalchemy.dialects.postgresql import insert

__all__ = ["insert"]
