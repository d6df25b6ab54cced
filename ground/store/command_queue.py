"""What waits to leave for a satellite, and whether it may. Every function runs in a transaction of the caller's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ground.command_records import WaitingCommand
from ground.connection import Connection

__all__ = [
    "SEQUENCE",
    "TELECOMMAND",
    "Hold",
    "Waiting",
    "add",
    "find",
    "hold",
    "holds",
    "release",
    "remove",
    "waiting",
    "why",
]

TELECOMMAND: Final = "telecommand"
SEQUENCE: Final = "sequence"

_COLUMNS: Final = "id, satellite, kind, command_id, name, submitter, payload, created_seconds, not_after_seconds"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A row of the queue; what leaves is the payload, as it was signed."""

    id: int
    satellite: str
    kind: str
    command_id: str
    name: str
    submitter: str
    payload: bytes
    created_seconds: float
    not_after_seconds: float

    @property
    def record(self) -> WaitingCommand:
        """What people see of it."""
        return WaitingCommand(
            self.command_id, self.kind, self.name, self.submitter, self.created_seconds, self.not_after_seconds
        )


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing leaves for this satellite."""

    satellite: str
    held_by: str
    reason: str
    held_seconds: float


def why(held: Hold) -> str:
    """Who holds a queue, and for what."""
    return f"by {held.held_by or 'somebody'}" + (f": {held.reason}" if held.reason else "")


def add(
    connection: Connection,
    satellite: str,
    kind: str,
    command_id: str,
    name: str,
    submitter: str,
    payload: bytes,
    now: float,
    not_after_seconds: float,
) -> None:
    """Put something at the end of a satellite's queue."""
    connection.execute(
        "INSERT INTO command_queue "
        "(satellite, kind, command_id, name, submitter, payload, created_seconds, not_after_seconds) VALUES "
        "(:satellite, :kind, :command_id, :name, :submitter, :payload, :now, :not_after)",
        {
            "satellite": satellite,
            "kind": kind,
            "command_id": command_id,
            "name": name,
            "submitter": submitter,
            "payload": payload,
            "now": now,
            "not_after": not_after_seconds,
        },
    )


def waiting(connection: Connection, satellite: str = "") -> list[Waiting]:
    """What waits for a satellite, or for all, in the order in which it came."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM command_queue WHERE :satellite = '' OR satellite = :satellite ORDER BY id",  # noqa: S608
        {"satellite": satellite},
    )
    return [Waiting(*row) for row in rows.fetchall()]


def find(connection: Connection, kind: str, command_id: str) -> Waiting | None:
    """What waits under an id."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM command_queue WHERE command_id = :command_id AND kind = :kind",  # noqa: S608
        {"command_id": command_id, "kind": kind},
    ).fetchone()
    return Waiting(*row) if row is not None else None


def remove(connection: Connection, row_id: int) -> None:
    """It has left, or will not."""
    connection.execute("DELETE FROM command_queue WHERE id = :id", {"id": row_id})


def holds(connection: Connection) -> dict[str, Hold]:
    """The queues that are held, by satellite."""
    rows = connection.execute("SELECT satellite, held_by, reason, held_seconds FROM command_holds")
    return {row[0]: Hold(*row) for row in rows.fetchall()}


def hold(connection: Connection, satellite: str, held_by: str, reason: str, now: float) -> bool:
    """Let nothing leave for a satellite; False when its queue is held already, by whom it was."""
    done = connection.execute(
        "INSERT INTO command_holds (satellite, held_by, reason, held_seconds) "
        "VALUES (:satellite, :held_by, :reason, :now) ON CONFLICT (satellite) DO NOTHING",
        {"satellite": satellite, "held_by": held_by, "reason": reason, "now": now},
    )
    return done.rowcount > 0


def release(connection: Connection, satellite: str) -> bool:
    """Let it leave again; False when the queue was not held."""
    done = connection.execute("DELETE FROM command_holds WHERE satellite = :satellite", {"satellite": satellite})
    return done.rowcount > 0
