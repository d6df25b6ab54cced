"""Sequences of commands as the gateway keeps them. Every function runs in a transaction of the caller's."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final

from flight.gateway.sequences import Progress, StepState
from skyrack.v1.backhaul_pb2 import CommandSequence

COMPONENT: Final = "sequences"

SCHEMA: Final = (
    """
    CREATE TABLE gateway_sequences (
        id INTEGER PRIMARY KEY,
        sequence_id TEXT NOT NULL UNIQUE,
        sequence BLOB NOT NULL,
        accepted_seconds REAL NOT NULL,
        not_after_seconds REAL NOT NULL,
        state TEXT NOT NULL DEFAULT 'new',
        aborted TEXT
    );
    CREATE INDEX gateway_sequences_open ON gateway_sequences (id) WHERE state <> 'over';
    CREATE TABLE gateway_steps (
        sequence INTEGER NOT NULL REFERENCES gateway_sequences (id) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        state INTEGER NOT NULL DEFAULT 0,
        ended_seconds REAL NOT NULL DEFAULT 0,
        PRIMARY KEY (sequence, number)
    ) WITHOUT ROWID;
    """,
)

_NEW: Final = "new"
_RUNNING: Final = "running"
_OVER: Final = "over"


@dataclass(frozen=True, slots=True)
class Row:
    """A sequence that is not over."""

    id: int
    sequence_id: str
    sequence: CommandSequence
    accepted_seconds: float
    not_after_seconds: float
    checked: bool
    """It was found good as a whole, and runs."""
    aborted: str | None
    progress: tuple[Progress, ...]


def add(
    connection: sqlite3.Connection, sequence_id: str, sequence: CommandSequence, now: float, not_after_seconds: float
) -> bool:
    """Keep a sequence that came up; False when one with this id came before."""
    row = connection.execute(
        "INSERT INTO gateway_sequences (sequence_id, sequence, accepted_seconds, not_after_seconds) "
        "VALUES (:sequence_id, :sequence, :now, :not_after) ON CONFLICT DO NOTHING RETURNING id",
        {
            "sequence_id": sequence_id,
            "sequence": sequence.SerializeToString(),
            "now": now,
            "not_after": not_after_seconds,
        },
    ).fetchone()
    if row is None:
        return False
    connection.executemany(
        "INSERT INTO gateway_steps (sequence, number) VALUES (:sequence, :number)",
        [{"sequence": row[0], "number": number} for number in range(1, len(sequence.steps) + 1)],
    )
    return True


def open_ids(connection: sqlite3.Connection) -> list[int]:
    """Rows of the sequences that are not over, in the order in which they came."""
    return [row[0] for row in connection.execute("SELECT id FROM gateway_sequences WHERE state <> 'over' ORDER BY id")]


def running(connection: sqlite3.Connection) -> int:
    """How many sequences run."""
    found = connection.execute("SELECT count(*) FROM gateway_sequences WHERE state = :state", {"state": _RUNNING})
    return int(found.fetchone()[0])


def load(connection: sqlite3.Connection, row_id: int) -> Row | None:
    """A sequence that is not over."""
    row = connection.execute(
        "SELECT id, sequence_id, sequence, accepted_seconds, not_after_seconds, state, aborted "
        "FROM gateway_sequences WHERE id = :id AND state <> 'over'",
        {"id": row_id},
    ).fetchone()
    if row is None:
        return None
    steps = connection.execute(
        "SELECT state, ended_seconds FROM gateway_steps WHERE sequence = :id ORDER BY number", {"id": row_id}
    )
    progress = tuple(Progress(StepState(state), ended) for state, ended in steps)
    return Row(row[0], row[1], CommandSequence.FromString(row[2]), row[3], row[4], row[5] == _RUNNING, row[6], progress)


def run(connection: sqlite3.Connection, row_id: int) -> None:
    """It was checked as a whole: from now on its steps run."""
    connection.execute("UPDATE gateway_sequences SET state = :state WHERE id = :id", {"state": _RUNNING, "id": row_id})


def end(connection: sqlite3.Connection, row_id: int) -> None:
    """It is over; its row stays, so that it is not taken again."""
    connection.execute(
        "UPDATE gateway_sequences SET state = :state, sequence = :nothing WHERE id = :id",
        {"state": _OVER, "nothing": b"", "id": row_id},
    )


def set_step(connection: sqlite3.Connection, row_id: int, number: int, state: StepState, now: float) -> None:
    """A step began or ended."""
    connection.execute(
        "UPDATE gateway_steps SET state = :state, ended_seconds = :now WHERE sequence = :id AND number = :number",
        {"state": int(state), "now": now, "id": row_id, "number": number},
    )


def abort(connection: sqlite3.Connection, sequence_id: str, reason: str) -> tuple[int, str]:
    """Record that somebody wants it to end. Returns its row, or 0 and a sentence on why there is nothing to end."""
    row = connection.execute(
        "SELECT id, state FROM gateway_sequences WHERE sequence_id = :sequence_id", {"sequence_id": sequence_id}
    ).fetchone()
    if row is None:
        return 0, f"there is no sequence {sequence_id} here"
    if row[1] == _OVER:
        return 0, f"the sequence {sequence_id} is over"
    connection.execute(
        "UPDATE gateway_sequences SET aborted = coalesce(aborted, :reason) WHERE id = :id",
        {"reason": reason, "id": row[0]},
    )
    return row[0], ""


def prune(connection: sqlite3.Connection, before_seconds: float) -> None:
    """Forget what was over, and could not be valid any more, at a mission time."""
    connection.execute(
        "DELETE FROM gateway_sequences "
        "WHERE state = :state AND accepted_seconds < :before AND not_after_seconds < :before",
        {"state": _OVER, "before": before_seconds},
    )
