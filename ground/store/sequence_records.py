"""Sequences of commands as people see them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from google.protobuf.text_format import MessageToString
from sqlalchemy import bindparam, select

from ground.command_records import SequenceRecord, SequenceStepRecord
from ground.connection import Connection
from ground.records import CommandStage
from ground.stages import in_story, stage_name
from ground.store.command_schema import sequence_stages
from skyrack.dictionary import rpcs
from skyrack.v1.backhaul_pb2 import CommandSequence, SequenceStep

__all__ = ["list_sequences", "load"]

_COLUMNS: Final = (
    "sequence_id, satellite, name, submitter, created_seconds, not_after_seconds, stage, is_open, reason, revision, "
    "sequence, signed_by"
)
_STAGES: Final = select(
    sequence_stages.c.sequence_id,
    sequence_stages.c.stage,
    sequence_stages.c.reason,
    sequence_stages.c.mission_time_seconds,
).where(sequence_stages.c.sequence_id.in_(bindparam("sequence_ids", expanding=True)))


def load(connection: Connection, sequence_id: str) -> SequenceRecord | None:
    """A sequence with its stages and steps, or None."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM sequences WHERE sequence_id = :id",  # noqa: S608 - names of columns
        {"id": sequence_id},
    ).fetchone()
    return None if row is None else _record(row, _stages(connection, [row])[sequence_id], _steps(connection, row))


def list_sequences(connection: Connection, limit: int, satellite: str = "") -> list[SequenceRecord]:
    """The newest sequences with their stages, newest last, without their steps."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM sequences WHERE :satellite = '' OR satellite = :satellite "  # noqa: S608
        "ORDER BY created_seconds DESC, sequence_id DESC LIMIT :limit",
        {"satellite": satellite, "limit": limit},
    ).fetchall()
    stages = _stages(connection, rows)
    return [_record(row, stages[row[0]]) for row in reversed(rows)]


def _stages(connection: Connection, rows: Iterable[Sequence[Any]]) -> dict[str, list[tuple[int, str, float]]]:
    """What sequences reached, of all of them in one query."""
    found: dict[str, list[tuple[int, str, float]]] = {row[0]: [] for row in rows}
    for sequence_id, *stage in connection.execute(_STAGES, {"sequence_ids": list(found)}).fetchall():
        found[sequence_id].append((stage[0], stage[1], stage[2]))
    return found


def _steps(connection: Connection, row: Sequence[Any]) -> tuple[SequenceStepRecord, ...]:
    written = CommandSequence.FromString(bytes(row[10]))
    reached = connection.execute(
        "SELECT number, stage, reason, response, started_seconds, finished_seconds FROM sequence_steps "
        "WHERE sequence_id = :id ORDER BY number",
        {"id": row[0]},
    )
    return tuple(
        _step(written, step, tuple(made)) for step, made in zip(written.steps, reached.fetchall(), strict=True)
    )


def _record(
    row: Sequence[Any], stages: Iterable[tuple[int, str, float]], steps: tuple[SequenceStepRecord, ...] = ()
) -> SequenceRecord:
    return SequenceRecord(
        sequence_id=row[0],
        satellite=row[1],
        name=row[2],
        submitter=row[3],
        created_seconds=row[4],
        not_after_seconds=row[5],
        stage=stage_name(row[6]),
        is_final=not row[7],
        reason=row[8],
        revision=row[9],
        signed_by=row[11],
        stages=tuple(
            CommandStage(stage_name(stage), reason, at)
            for stage, reason, at in sorted(stages, key=lambda made: in_story(made[0], made[2]))
        ),
        steps=steps,
    )


def _step(sequence: CommandSequence, step: SequenceStep, made: tuple[Any, ...]) -> SequenceStepRecord:
    number, stage, reason, response, started, finished = made
    command = step.telecommand
    rpc = next((rpc for rpc in rpcs() if rpc.name == command.method), None)
    is_absolute = step.WhichOneof("at") == "mission_time_seconds"
    return SequenceStepRecord(
        number=number,
        command=f"{command.service}.{command.method}",
        arguments=_text(rpc.request, command.request) if rpc else command.request.hex(),
        at_seconds=step.mission_time_seconds if is_absolute else None,
        after_seconds=step.after_seconds,
        on_failure="continue" if step.continue_on_failure or sequence.continue_on_failure else "stop",
        stage=stage_name(stage),
        reason=reason,
        response=_text(rpc.response, bytes(response)) if rpc and response else "",
        started_seconds=started,
        finished_seconds=finished,
    )


def _text(message_type: Any, data: bytes) -> str:
    return MessageToString(message_type.FromString(data), as_one_line=True) if data else ""
