"""Tokens as they are kept. A revoked one stays, so that the past can be read."""

from __future__ import annotations

from sqlalchemy import Column, Double, MetaData, Table, Text

from ground.access.roles import Role
from ground.access.tokens import Token
from skyrack.storage import Connection

__all__ = ["add", "load_all", "revoke", "tables"]


def tables(metadata: MetaData) -> Table:
    """Declare what is kept."""
    return Table(
        "tokens",
        metadata,
        Column("token_id", Text, primary_key=True),
        Column("sha256", Text, nullable=False, unique=True),
        Column("name", Text, nullable=False),
        Column("role", Text, nullable=False),
        Column("created_seconds", Double, nullable=False),
        Column("end_seconds", Double, nullable=False),
        Column("revoked_seconds", Double),
    )


def add(connection: Connection, token: Token) -> None:
    """Keep a new token."""
    connection.execute(
        "INSERT INTO tokens (token_id, sha256, name, role, created_seconds, end_seconds) "
        "VALUES (:token_id, :sha256, :name, :role, :created, :end)",
        {
            "token_id": token.token_id,
            "sha256": token.sha256,
            "name": token.name,
            "role": token.role.value,
            "created": token.created_seconds,
            "end": token.end_seconds,
        },
    )


def revoke(connection: Connection, token_id: str, now: float) -> None:
    """From now on it opens nothing."""
    connection.execute(
        "UPDATE tokens SET revoked_seconds = :now WHERE token_id = :token_id AND revoked_seconds IS NULL",
        {"now": now, "token_id": token_id},
    )


def load_all(connection: Connection) -> list[Token]:
    """All tokens, oldest first."""
    rows = connection.execute(
        "SELECT token_id, sha256, name, role, created_seconds, end_seconds, revoked_seconds FROM tokens "
        "ORDER BY created_seconds, token_id",
        {},
    )
    return [Token(row[0], row[1], row[2], Role(row[3]), row[4], row[5], row[6]) for row in rows]
