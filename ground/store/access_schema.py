"""Tables of tokens and of the audit log; in the schema as those of ``ground.store.schema`` are."""

from __future__ import annotations

from typing import Final

from sqlalchemy import DDL, BigInteger, Column, Double, Table, event

from ground.store.schema import METADATA, Name, seconds, text

__all__ = ["PROTECTION", "audit", "tokens"]

# A token that was revoked stays, so that the past can be read.
tokens: Final = Table(
    "tokens",
    METADATA,
    Column("token_id", Name, primary_key=True),
    Column("sha256", Name, nullable=False, unique=True),
    Column("name", Name, nullable=False),
    Column("role", Name, nullable=False),
    seconds("created_seconds"),
    seconds("end_seconds"),
    Column("revoked_seconds", Double),
)

audit: Final = Table(
    "audit",
    METADATA,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    seconds("mission_time_seconds"),
    text("person"),
    text("role"),
    text("token_id"),
    text("address"),
    text("action"),
    text("subject"),
    text("outcome"),
    text("detail"),
    Column("previous_sha256", Name, nullable=False),
    Column("sha256", Name, nullable=False, unique=True),
)

_SENTENCE: Final = "the audit log is never changed"

PROTECTION: Final[dict[str, tuple[str, ...]]] = {
    "sqlite": (
        f"CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, '{_SENTENCE}'); END",
        f"CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, '{_SENTENCE}'); END",
        # INSERT OR REPLACE takes rows out without asking the trigger of DELETE.
        f"""CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit
        WHEN EXISTS (SELECT 1 FROM audit WHERE id >= NEW.id OR sha256 = NEW.sha256)
        BEGIN SELECT RAISE(ABORT, '{_SENTENCE}'); END""",  # noqa: S608 - a constant
    ),
    "postgresql": (
        f"""CREATE FUNCTION audit_is_never_changed() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN RAISE EXCEPTION ''{_SENTENCE}''; END'""",
        """CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit
        FOR EACH ROW EXECUTE FUNCTION audit_is_never_changed()""",
        """CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit
        FOR EACH STATEMENT EXECUTE FUNCTION audit_is_never_changed()""",
    ),
}
"""What keeps the rows of the audit log as they are, by SQLAlchemy's name of the database."""

for _dialect, _statements in PROTECTION.items():
    for _statement in _statements:
        event.listen(audit, "after_create", DDL(_statement).execute_if(dialect=_dialect))  # type: ignore[no-untyped-call]
