"""Who did what: a log that can be read and proved, and that nothing edits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from ground.access.roles import ForbiddenError, Person, Role, require
from ground.store import audit
from ground.store.audit import AuditRecord
from skyrack.clock import Clock
from skyrack.errors import UserError
from skyrack.storage import Storage

__all__ = ["Audit", "AuditProof", "AuditRecord"]

_PAGE: Final = 1000
_TEXT_LIMIT: Final = 500


@dataclass(frozen=True, slots=True)
class AuditProof:
    """Whether every row holds the hash of the row before.

    Note the last hash elsewhere: a log that was cut off after some row is a shorter log that holds together.
    """

    is_intact: bool
    rows: int
    last_sha256: str
    # What does not add up, and where.
    problem: str = ""


class Audit:
    """The log of one ground, in its database."""

    def __init__(self, database: Storage[Any], clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def add(
        self,
        person: Person | None,
        action: str,
        subject: str,
        *,
        outcome: str = "done",
        detail: str = "",
        address: str = "",
    ) -> None:
        """Write down what somebody did, or was refused; durable when this returns. Raises ``StorageError``."""
        now = self._clock.now()
        await self._database.write(
            lambda connection: audit.append(
                connection,
                mission_time_seconds=now,
                person=person.name if person else "",
                role=person.role.value if person else "",
                token_id=person.token_id if person else "",
                address=address[:64],
                action=action[:64],
                subject=_plain(subject),
                outcome=outcome,
                detail=_plain(detail),
            )
        )

    @asynccontextmanager
    async def doing(self, person: Person, role: Role, action: str, subject: str) -> AsyncIterator[None]:
        """Around what a person does by another way than the HTTP interface: checks the role, writes down the outcome.

        Raises:
            ForbiddenError: the person may not.
        """
        try:
            require(person, role)
            yield
        except UserError as error:
            outcome = "refused" if isinstance(error, ForbiddenError) else "failed"
            await self.add(person, action, subject, outcome=outcome, detail=str(error), address="console")
            raise
        except Exception as error:
            await self.add(person, action, subject, outcome="failed", detail=type(error).__name__, address="console")
            raise
        await self.add(person, action, subject, address="console")

    async def rows(self, after_id: int = 0, limit: int = 100) -> Sequence[AuditRecord]:
        """Rows after an id, oldest first."""
        return await self._database.read(lambda connection: audit.load(connection, after_id, limit))

    async def newest(self, limit: int) -> Sequence[AuditRecord]:
        """The newest rows, oldest first."""
        last, _ = await self._database.read(audit.newest)
        return await self.rows(max(0, last - limit), limit)

    async def verify(self) -> AuditProof:
        """Prove the chain, from the first row to the last."""
        at, previous = 0, audit.BEGINNING
        while rows := await self.rows(at, _PAGE):
            for row in rows:
                problem = _problem(row, at, previous)
                if problem:
                    return AuditProof(is_intact=False, rows=at, last_sha256=previous, problem=problem)
                at, previous = row.id, row.sha256
        return AuditProof(is_intact=True, rows=at, last_sha256=previous)


def _problem(row: AuditRecord, at: int, previous: str) -> str:
    if row.id != at + 1:
        return f"row {at + 1} is missing: after row {at} comes row {row.id}"
    if row.previous_sha256 != previous:
        return f"row {row.id} does not hold the hash of row {at}"
    if row.sha256 != audit.seal(row):
        return f"row {row.id} was changed: its hash is not that of what it holds"
    return ""


def _plain(text: str) -> str:
    """Short, and without what a database cannot hold (PostgreSQL: no NUL; UTF-8: no lone surrogates)."""
    return text[:_TEXT_LIMIT].encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
