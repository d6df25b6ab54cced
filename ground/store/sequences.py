"""Sequences of commands, their steps, and the stages that they reach. Each in a transaction of the caller's."""

from __future__ import annotations

from typing import Final

from ground.command_records import SequenceRecord
from ground.connection import Connection
from ground.stages import FINAL, advances, rank, stage_name
from ground.store.revisions import next_revision
from ground.store.sequence_records import list_sequences, load
from skyrack.orders import Verified, signer_text
from skyrack.v1 import backhaul_pb2
from skyrack.v1.backhaul_pb2 import CommandSequence

__all__ = [
    "advance",
    "advance_step",
    "expired",
    "insert",
    "list_sequences",
    "load",
    "same",
    "satellite_of",
    "signed",
    "signed_order",
    "totals",
    "trim",
    "turn",
]

_NEEDS_SIGNATURE: Final = backhaul_pb2.TELECOMMAND_STAGE_NEEDS_SIGNATURE
_QUEUED: Final = backhaul_pb2.TELECOMMAND_STAGE_QUEUED
_STARTED: Final = backhaul_pb2.TELECOMMAND_STAGE_STARTED


def insert(connection: Connection, order: Verified, now: float, missing: str = "") -> bool:
    """Keep a new sequence; False when the same one is there already.

    ``missing`` says which signatures are, before it may be queued.

    Raises:
        ValueError: another sequence has this id.
    """
    wanted = order.order
    data = wanted.sequence.SerializeToString(deterministic=True)
    known = connection.execute(
        "SELECT satellite, sequence FROM sequences WHERE sequence_id = :id", {"id": wanted.order_id}
    ).fetchone()
    if known is not None:
        if known[0] == wanted.destination and bytes(known[1]) == data:
            return False
        raise ValueError(f"another sequence has the id {wanted.order_id}; choose a new id")
    stage = _NEEDS_SIGNATURE if missing else _QUEUED
    connection.execute(
        "INSERT INTO sequences (sequence_id, satellite, name, sequence, submitter, created_seconds, "
        "not_after_seconds, stage, is_open, reason, revision, signed_order, signed_by) VALUES (:id, :satellite, "
        ":name, :sequence, :submitter, :now, :not_after, :stage, 1, :reason, :revision, :signed_order, :signed_by)",
        {
            "id": wanted.order_id,
            "satellite": wanted.destination,
            "name": wanted.sequence.name,
            "sequence": data,
            "submitter": wanted.submitter,
            "now": now,
            "not_after": wanted.not_after_seconds,
            "stage": stage,
            "reason": missing,
            "revision": next_revision(connection),
            "signed_order": order.data,
            "signed_by": signer_text(order),
        },
    )
    _tell(connection, wanted.order_id, stage, missing, now)
    connection.executemany(
        "INSERT INTO sequence_steps (sequence_id, number, stage) VALUES (:id, :number, :stage)",
        [
            {"id": wanted.order_id, "number": number, "stage": _QUEUED}
            for number in range(1, len(wanted.sequence.steps) + 1)
        ],
    )
    return True


def signed_order(connection: Connection, sequence_id: str) -> bytes | None:
    """The order of a sequence, with the signatures it has; None where there is no such sequence."""
    row = connection.execute(
        "SELECT signed_order FROM sequences WHERE sequence_id = :id", {"id": sequence_id}
    ).fetchone()
    return None if row is None else bytes(row[0])


def signed(connection: Connection, order: Verified, missing: str) -> None:
    """Another signature came."""
    connection.execute(
        "UPDATE sequences SET signed_order = :signed_order, signed_by = :signed_by, reason = :reason, "
        "revision = :revision WHERE sequence_id = :id",
        {
            "signed_order": order.data,
            "signed_by": signer_text(order),
            "reason": missing,
            "revision": next_revision(connection),
            "id": order.order.order_id,
        },
    )


def same(connection: Connection, sequence_id: str, satellite: str, sequence: CommandSequence) -> SequenceRecord | None:
    """The record of this very sequence, if it was submitted before."""
    row = connection.execute(
        "SELECT satellite, sequence FROM sequences WHERE sequence_id = :id", {"id": sequence_id}
    ).fetchone()
    if row is None or (row[0], bytes(row[1])) != (satellite, sequence.SerializeToString(deterministic=True)):
        return None
    return load(connection, sequence_id)


def satellite_of(connection: Connection, sequence_id: str) -> str:
    """The satellite that a sequence is for; empty when there is none."""
    row = connection.execute("SELECT satellite FROM sequences WHERE sequence_id = :id", {"id": sequence_id}).fetchone()
    return str(row[0]) if row is not None else ""


def advance(connection: Connection, sequence_id: str, stage: int, reason: str, at_seconds: float) -> bool:
    """A sequence reached a stage; False when that changes nothing: known, overtaken, or after the end."""
    row = connection.execute("SELECT stage FROM sequences WHERE sequence_id = :id", {"id": sequence_id}).fetchone()
    if row is None:
        return False
    is_news = advances(row[0], stage)
    if is_news:
        _set_stage(connection, sequence_id, stage, reason)
    if is_news or rank(stage) < rank(row[0]):
        # A stage that was overtaken on the way is still part of the story.
        _tell(connection, sequence_id, stage, reason, at_seconds)
    return is_news


def _set_stage(connection: Connection, sequence_id: str, stage: int, reason: str) -> None:
    """Write down where a sequence stands."""
    connection.execute(
        "UPDATE sequences SET stage = :stage, is_open = :is_open, reason = :reason, revision = :revision "
        "WHERE sequence_id = :id",
        {
            "stage": stage,
            "is_open": int(stage not in FINAL),
            "reason": reason,
            "revision": next_revision(connection),
            "id": sequence_id,
        },
    )


def _tell(connection: Connection, sequence_id: str, stage: int, reason: str, at_seconds: float) -> None:
    connection.execute(
        "INSERT INTO sequence_stages (sequence_id, stage, reason, mission_time_seconds) "
        "VALUES (:id, :stage, :reason, :at) ON CONFLICT (sequence_id, stage) DO NOTHING",
        {"id": sequence_id, "stage": stage, "reason": reason, "at": at_seconds},
    )


def turn(connection: Connection, sequence_id: str, stage: int, reason: str, at_seconds: float) -> None:
    """A sequence that has not left is held, or released again."""
    _set_stage(connection, sequence_id, stage, reason)
    connection.execute(
        "INSERT INTO sequence_stages (sequence_id, stage, reason, mission_time_seconds) "
        "VALUES (:id, :stage, :reason, :at) ON CONFLICT (sequence_id, stage) "
        "DO UPDATE SET reason = excluded.reason, mission_time_seconds = excluded.mission_time_seconds",
        {"id": sequence_id, "stage": stage, "reason": reason, "at": at_seconds},
    )


def advance_step(
    connection: Connection,
    sequence_id: str,
    number: int,
    stage: int,
    reason: str,
    at_seconds: float,
    response: bytes = b"",
) -> bool:
    """A step reached a stage; False when that changes nothing."""
    row = connection.execute(
        "SELECT stage FROM sequence_steps WHERE sequence_id = :id AND number = :number",
        {"id": sequence_id, "number": number},
    ).fetchone()
    if row is None:
        return False
    column = "started_seconds" if stage == _STARTED else "finished_seconds" if stage in FINAL else ""
    values = {"id": sequence_id, "number": number, "at": at_seconds}
    if column:
        connection.execute(
            f"UPDATE sequence_steps SET {column} = coalesce({column}, :at) "  # noqa: S608 - one of two names
            "WHERE sequence_id = :id AND number = :number",
            values,
        )
    if not advances(row[0], stage):
        return False
    connection.execute(
        "UPDATE sequence_steps SET stage = :stage, reason = :reason, response = :response "
        "WHERE sequence_id = :id AND number = :number",
        {"id": sequence_id, "number": number, "stage": stage, "reason": reason, "response": response or None},
    )
    connection.execute(
        "UPDATE sequences SET revision = :revision WHERE sequence_id = :id",
        {"revision": next_revision(connection), "id": sequence_id},
    )
    return True


def expired(connection: Connection, before: float, stages: tuple[int, ...]) -> list[str]:
    """Ids of sequences that should have arrived before a time, and of which no more is known than these stages."""
    rows = connection.execute(
        "SELECT sequence_id, stage FROM sequences "
        "WHERE is_open = 1 AND not_after_seconds > 0 AND not_after_seconds < :before",
        {"before": before},
    )
    return [sequence_id for sequence_id, stage in rows.fetchall() if stage in stages]


def totals(connection: Connection) -> dict[str, int]:
    """Number of sequences by the name of their stage."""
    rows = connection.execute("SELECT stage, count(*) FROM sequences GROUP BY stage")
    return {stage_name(stage): count for stage, count in rows.fetchall()}


def trim(connection: Connection, before: float) -> None:
    """Forget sequences that are over and were made before a mission time."""
    rows = connection.execute(
        "DELETE FROM sequences WHERE is_open = 0 AND created_seconds < :before AND not_after_seconds < :before "
        "RETURNING sequence_id",
        {"before": before},
    ).fetchall()
    for (sequence_id,) in rows:
        for table in ("sequence_stages", "sequence_steps"):
            connection.execute(f"DELETE FROM {table} WHERE sequence_id = :id", {"id": sequence_id})  # noqa: S608
