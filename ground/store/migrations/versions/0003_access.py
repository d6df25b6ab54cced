"""Tokens, and the audit log with what keeps it as it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

NAME = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")

PROTECTION = {
    "sqlite": (
        (
            "CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit "
            "BEGIN SELECT RAISE(ABORT, 'the audit log is never changed'); END"
        ),
        (
            "CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit "
            "BEGIN SELECT RAISE(ABORT, 'the audit log is never changed'); END"
        ),
    ),
    "postgresql": (
        (
            "CREATE FUNCTION audit_is_never_changed() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN RAISE EXCEPTION ''the audit log is never changed''; END'"
        ),
        (
            "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit "
            "FOR EACH ROW EXECUTE FUNCTION audit_is_never_changed()"
        ),
        (
            "CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit "
            "FOR EACH STATEMENT EXECUTE FUNCTION audit_is_never_changed()"
        ),
    ),
}


def upgrade() -> None:
    """Bring the tables here from the revision before."""
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("mission_time_seconds", sa.Double(), nullable=False),
        *(
            sa.Column(name, NAME, server_default="", nullable=False)
            for name in ("person", "role", "token_id", "address", "action", "subject", "outcome", "detail")
        ),
        sa.Column("previous_sha256", NAME, nullable=False),
        sa.Column("sha256", NAME, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("sha256"),
    )
    op.create_table(
        "tokens",
        sa.Column("token_id", NAME, nullable=False),
        sa.Column("sha256", NAME, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("role", NAME, nullable=False),
        sa.Column("created_seconds", sa.Double(), nullable=False),
        sa.Column("end_seconds", sa.Double(), nullable=False),
        sa.Column("revoked_seconds", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("token_id"),
        sa.UniqueConstraint("sha256"),
    )
    for statement in PROTECTION[op.get_context().dialect.name]:
        op.execute(statement)
