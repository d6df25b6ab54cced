"""The audit log as it is kept: rows that hold the hash of the row before, and that nothing changes or removes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import DDL, BigInteger, Column, Double, MetaData, Table, Text, event

from skyrack.storage import Connection

__all__ = ["BEGINNING", "PROTECTION", "AuditRecord", "append", "load", "newest", "seal", "tables"]

BEGINNING: Final = "0" * 64
"""What the first row holds in place of the hash of a row before."""

_SENTENCE: Final = "the audit log is never changed"

PROTECTION: Final[dict[str, tuple[str, ...]]] = {
    "sqlite": tuple(
        f"CREATE TRIGGER audit_no_{what.lower()} BEFORE {what} ON audit BEGIN SELECT RAISE(ABORT, '{_SENTENCE}'); END"
        for what in ("UPDATE", "DELETE")
    ),
    "postgresql": (
        (
            "CREATE FUNCTION audit_is_never_changed() RETURNS trigger LANGUAGE plpgsql AS "
            f"'BEGIN RAISE EXCEPTION ''{_SENTENCE}''; END'"
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
"""What keeps rows as they are, by SQLAlchemy's name of the database."""


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """What somebody did, or was refused."""

    # 1, 2, 3... without a gap.
    id: int
    mission_time_seconds: float
    person: str
    role: str
    # Name of the token that was shown, which is no secret.
    token_id: str
    # Where it came from.
    address: str
    # An operation of the interface: submit_job, send_telecommand...
    action: str
    subject: str
    # done, refused or failed.
    outcome: str
    detail: str
    # SHA-256 of the row before, and of all that stands above, in hexadecimal digits.
    previous_sha256: str
    sha256: str


_COLUMNS: Final = tuple(AuditRecord.__dataclass_fields__)


def tables(metadata: MetaData) -> Table:
    """Declare what is kept, with the triggers that keep it as it is."""
    texts = {"person", "role", "token_id", "address", "action", "subject", "outcome", "detail", "previous_sha256"}
    table = Table(
        "audit",
        metadata,
        Column("id", BigInteger, primary_key=True, autoincrement=False),
        Column("mission_time_seconds", Double, nullable=False),
        *(Column(name, Text, nullable=False) for name in _COLUMNS if name in texts),
        Column("sha256", Text, nullable=False, unique=True),
    )
    for dialect, statements in PROTECTION.items():
        for statement in statements:
            event.listen(table, "after_create", DDL(statement).execute_if(dialect=dialect))  # type: ignore[no-untyped-call]
    return table


def seal(record: AuditRecord) -> str:
    """The hash that a row must hold: over all its other fields, as JSON with sorted keys."""
    fields = asdict(record)
    del fields["sha256"]
    text = json.dumps(fields, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def append(connection: Connection, **fields: Any) -> AuditRecord:
    """Add a row: all its fields but id and hashes, which follow from the row before."""
    last = newest(connection)
    plain = AuditRecord(**fields, id=last[0] + 1, previous_sha256=last[1], sha256="")
    values = asdict(plain) | {"sha256": seal(plain)}
    names = ", ".join(_COLUMNS)
    places = ", ".join(f":{name}" for name in _COLUMNS)
    connection.execute(f"INSERT INTO audit ({names}) VALUES ({places})", values)  # noqa: S608 - names of columns
    return AuditRecord(**values)


def newest(connection: Connection) -> tuple[int, str]:
    """Id and hash of the last row; (0, ``BEGINNING``) before there is one."""
    row = connection.execute("SELECT id, sha256 FROM audit ORDER BY id DESC LIMIT 1", {}).fetchone()
    return (0, BEGINNING) if row is None else (int(row[0]), str(row[1]))


def load(connection: Connection, after_id: int, limit: int) -> Sequence[AuditRecord]:
    """Rows after an id, oldest first."""
    names = ", ".join(_COLUMNS)
    rows = connection.execute(
        f"SELECT {names} FROM audit WHERE id > :after ORDER BY id LIMIT :limit",  # noqa: S608 - names of columns
        {"after": after_id, "limit": limit},
    )
    return [AuditRecord(*row) for row in rows.fetchall()]
