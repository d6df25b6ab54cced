"""Tokens as they are kept."""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam, insert, select, update

from ground.access.roles import Role
from ground.access.tokens import Token
from ground.connection import Connection
from ground.store.access_schema import tokens

__all__ = ["add", "load_all", "revoke"]

_ALL: Final = select(
    tokens.c.token_id,
    tokens.c.sha256,
    tokens.c.name,
    tokens.c.role,
    tokens.c.created_seconds,
    tokens.c.end_seconds,
    tokens.c.revoked_seconds,
).order_by(tokens.c.created_seconds, tokens.c.token_id)
_REVOKE: Final = (
    update(tokens)
    .where(tokens.c.token_id == bindparam("which"), tokens.c.revoked_seconds.is_(None))
    .values(revoked_seconds=bindparam("now"))
)


def add(connection: Connection, token: Token) -> None:
    """Keep a new token."""
    values = {
        "token_id": token.token_id,
        "sha256": token.sha256,
        "name": token.name,
        "role": token.role.value,
        "created_seconds": token.created_seconds,
        "end_seconds": token.end_seconds,
    }
    connection.execute(insert(tokens), values)


def revoke(connection: Connection, token_id: str, now: float) -> None:
    """From now on it opens nothing."""
    connection.execute(_REVOKE, {"which": token_id, "now": now})


def load_all(connection: Connection) -> list[Token]:
    """All tokens, oldest first."""
    rows = connection.execute(_ALL).fetchall()
    return [
        Token(token_id, sha256, name, Role(role), created, end, revoked)
        for token_id, sha256, name, role, created, end, revoked in rows
    ]
