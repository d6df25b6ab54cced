"""The audit log as it is kept: rows that hold the hash of the row before, and that nothing changes or removes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import bindparam, insert, select

from ground.connection import Connection
from ground.store.access_schema import audit

__all__ = ["BEGINNING", "AuditRecord", "append", "load", "newest", "seal"]

BEGINNING: Final = "0" * 64
"""What the first row holds in place of the hash of a row before."""


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


_NEWEST: Final = select(audit.c.id, audit.c.sha256).order_by(audit.c.id.desc()).limit(1)
_LATER: Final = (
    select(*(audit.c[name] for name in AuditRecord.__dataclass_fields__))
    .where(audit.c.id > bindparam("after"))
    .order_by(audit.c.id)
    .limit(bindparam("count"))
)


def seal(record: AuditRecord) -> str:
    """The hash that a row must hold: over all its other fields, as JSON with sorted keys."""
    fields = asdict(record)
    del fields["sha256"]
    text = json.dumps(fields, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def append(connection: Connection, **fields: Any) -> AuditRecord:
    """Add a row: all its fields but id and hashes, which follow from the row before."""
    last_id, last_sha256 = newest(connection)
    plain = AuditRecord(**fields, id=last_id + 1, previous_sha256=last_sha256, sha256="")
    values = asdict(plain) | {"sha256": seal(plain)}
    connection.execute(insert(audit), values)
    return AuditRecord(**values)


def newest(connection: Connection) -> tuple[int, str]:
    """Id and hash of the last row; (0, ``BEGINNING``) before there is one."""
    row = connection.execute(_NEWEST).first()
    return (0, BEGINNING) if row is None else (int(row[0]), str(row[1]))


def load(connection: Connection, after_id: int, limit: int) -> Sequence[AuditRecord]:
    """Rows after an id, oldest first."""
    rows = connection.execute(_LATER, {"after": after_id, "count": limit})
    return [AuditRecord(*row) for row in rows.fetchall()]
