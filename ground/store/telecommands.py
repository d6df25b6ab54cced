"""Telecommands and the stages that they reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from google.protobuf.text_format import MessageToString
from sqlalchemy import bindparam, delete, func, literal, select, tuple_, update

from ground.connection import Connection
from ground.records import CommandStage, TelecommandRecord
from ground.stages import FINAL, advances, in_story, rank, stage_name
from ground.store.revisions import next_revision
from ground.store.schema import IS_UNDER_WAY, telecommand_stages, telecommands
from ground.store.upsert import insert as insert_into
from skyrack.dictionary import rpcs
from skyrack.orders import Verified, signer_text
from skyrack.v1 import backhaul_pb2

__all__ = [
    "advance",
    "expired",
    "insert",
    "list_telecommands",
    "load",
    "signed",
    "signed_order",
    "totals",
    "trim",
    "turn",
]


def insert(connection: Connection, order: Verified, now: float, missing: str = "") -> bool:
    """Keep a new telecommand; False when the same one is there already.

    ``missing`` says which signatures are, before it may be queued.

    Raises:
        ValueError: another telecommand has this id.
    """
    command, satellite = order.order.telecommand, order.order.destination
    known = connection.execute(
        select(telecommands.c.satellite, telecommands.c.service, telecommands.c.method, telecommands.c.request).where(
            telecommands.c.command_id == command.command_id
        )
    ).first()
    if known is not None:
        if tuple(known) == (satellite, command.service, command.method, command.request):
            return False
        raise ValueError(f"another telecommand has the id {command.command_id}; choose a new id")
    stage = backhaul_pb2.TELECOMMAND_STAGE_NEEDS_SIGNATURE if missing else backhaul_pb2.TELECOMMAND_STAGE_QUEUED
    row = {
        "command_id": command.command_id,
        "satellite": satellite,
        "service": command.service,
        "method": command.method,
        "request": command.request,
        "submitter": command.submitter,
        "created_seconds": now,
        "not_after_seconds": command.not_after_seconds,
        "stage": stage,
        "is_open": 1,
        "reason": missing,
        "response": b"",
        "revision": next_revision(connection),
        "signed_order": order.data,
        "signed_by": signer_text(order),
    }
    connection.execute(insert_into(telecommands), row)
    begun = {"command_id": command.command_id, "stage": stage, "reason": missing, "mission_time_seconds": now}
    connection.execute(insert_into(telecommand_stages), begun)
    return True


def signed_order(connection: Connection, command_id: str) -> bytes | None:
    """The order of a telecommand, with the signatures it has; None where there is no such telecommand."""
    known = telecommands.c.command_id == command_id
    row = connection.execute(select(telecommands.c.signed_order).where(known)).first()
    return None if row is None else row[0] or b""


def signed(connection: Connection, order: Verified, missing: str) -> None:
    """Another signature came."""
    connection.execute(
        update(telecommands)
        .where(telecommands.c.command_id == order.order.order_id)
        .values(
            signed_order=order.data,
            signed_by=signer_text(order),
            reason=missing,
            revision=next_revision(connection),
        )
    )


def advance(
    connection: Connection, command_id: str, stage: int, reason: str, at_seconds: float, response: bytes = b""
) -> bool:
    """A telecommand reached a stage; False when that changes nothing: known, overtaken, or after the end."""
    found = connection.execute(select(telecommands.c.stage).where(telecommands.c.command_id == command_id)).first()
    if found is None:
        return False
    is_news = advances(found.stage, stage)
    if is_news:
        _set_stage(connection, command_id, stage, reason, response)
    if is_news or rank(stage) < rank(found.stage):
        # A stage that was overtaken on the way is still part of the story.
        reached = {"command_id": command_id, "stage": stage, "reason": reason, "mission_time_seconds": at_seconds}
        connection.execute(insert_into(telecommand_stages).on_conflict_do_nothing(), reached)
    return is_news


def turn(connection: Connection, command_id: str, stage: int, reason: str, at_seconds: float) -> None:
    """A telecommand that has not left is held, or released again."""
    _set_stage(connection, command_id, stage, reason)
    newest = {"reason": reason, "mission_time_seconds": at_seconds}
    statement = insert_into(telecommand_stages).on_conflict_do_update(
        index_elements=[telecommand_stages.c.command_id, telecommand_stages.c.stage], set_=newest
    )
    connection.execute(statement, {"command_id": command_id, "stage": stage, **newest})


def _set_stage(connection: Connection, command_id: str, stage: int, reason: str, response: bytes = b"") -> None:
    connection.execute(
        update(telecommands)
        .where(telecommands.c.command_id == command_id)
        .values(
            stage=stage,
            is_open=int(stage not in FINAL),
            reason=reason,
            response=response,
            revision=next_revision(connection),
        )
    )


def expired(connection: Connection, before: float) -> list[str]:
    """Ids of open telecommands that ended before the given time and of whose fate nothing was heard."""
    end = telecommands.c.not_after_seconds
    statement = select(telecommands.c.command_id).where(IS_UNDER_WAY, end > 0, end < before).order_by(end)
    return list(connection.execute(statement).scalars())


def trim(connection: Connection, before: float) -> None:
    """Forget telecommands that are over and whose time ended before the given mission time."""
    is_old = (telecommands.c.created_seconds < before) & (telecommands.c.not_after_seconds < before)
    forgotten = connection.execute(
        delete(telecommands).where(telecommands.c.is_open == 0, is_old).returning(telecommands.c.command_id)
    ).scalars()
    old = [{"old": command_id} for command_id in forgotten]
    if old:
        is_old_stage = telecommand_stages.c.command_id == bindparam("old")
        connection.execute(delete(telecommand_stages).where(is_old_stage), old)


_RECORD: Final = select(
    telecommands.c.command_id,
    telecommands.c.satellite,
    telecommands.c.service,
    telecommands.c.method,
    telecommands.c.request,
    telecommands.c.submitter,
    telecommands.c.created_seconds,
    telecommands.c.not_after_seconds,
    telecommands.c.stage,
    telecommands.c.is_open,
    telecommands.c.reason,
    telecommands.c.response,
    telecommands.c.revision,
    telecommands.c.signed_by,
)
_STAGES: Final = select(
    telecommand_stages.c.command_id,
    telecommand_stages.c.stage,
    telecommand_stages.c.reason,
    telecommand_stages.c.mission_time_seconds,
).where(telecommand_stages.c.command_id.in_(bindparam("command_ids", expanding=True)))


def load(connection: Connection, command_id: str) -> TelecommandRecord | None:
    """A telecommand with its stages, or None."""
    row = connection.execute(_RECORD.where(telecommands.c.command_id == command_id)).first()
    return None if row is None else _records(connection, [row])[0]


def list_telecommands(
    connection: Connection,
    limit: int,
    satellite: str = "",
    *,
    not_by: str = "",
    before: tuple[float, str] | None = None,
) -> list[TelecommandRecord]:
    """The newest telecommands with their stages, newest last; ``not_by`` leaves out those of a submitter.

    ``before`` is a place in their order, (created_seconds, command_id): only those before it.
    """
    statement = _RECORD.order_by(telecommands.c.created_seconds.desc(), telecommands.c.command_id.desc()).limit(limit)
    if satellite:
        statement = statement.where(telecommands.c.satellite == satellite)
    if not_by:
        statement = statement.where(telecommands.c.submitter != not_by)
    if before is not None:
        place = tuple_(telecommands.c.created_seconds, telecommands.c.command_id)
        statement = statement.where(place < tuple_(*map(literal, before)))
    rows = connection.execute(statement).fetchall()
    return _records(connection, rows[::-1])


def totals(connection: Connection) -> dict[str, int]:
    """Number of telecommands by the name of their stage."""
    counts = select(telecommands.c.stage, func.count()).group_by(telecommands.c.stage).order_by(telecommands.c.stage)
    return {stage_name(stage): count for stage, count in connection.execute(counts)}


def _records(connection: Connection, rows: Sequence[Any]) -> list[TelecommandRecord]:
    """Records of rows, with the stages of all of them in one query."""
    stages: dict[str, list[tuple[int, str, float]]] = {row[0]: [] for row in rows}
    for command_id, *stage in connection.execute(_STAGES, {"command_ids": list(stages)}).fetchall():
        stages[command_id].append((stage[0], stage[1], stage[2]))
    return [_record(row, stages[row[0]]) for row in rows]


def _record(row: Any, stages: Sequence[tuple[int, str, float]]) -> TelecommandRecord:
    rpc = next((rpc for rpc in rpcs() if rpc.name == row[3]), None)
    return TelecommandRecord(
        command_id=row[0],
        satellite=row[1],
        service=row[2],
        method=row[3],
        arguments=_text(rpc.request, row[4]) if rpc else row[4].hex(),
        submitter=row[5],
        created_seconds=row[6],
        not_after_seconds=row[7],
        stage=stage_name(row[8]),
        is_final=not row[9],
        reason=row[10],
        response=_text(rpc.response, row[11]) if rpc else row[11].hex(),
        revision=row[12],
        signed_by=row[13],
        stages=tuple(
            CommandStage(stage_name(stage), reason, at)
            for stage, reason, at in sorted(stages, key=lambda made: in_story(made[0], made[2]))
        ),
    )


def _text(message_type: Any, data: bytes) -> str:
    if not data:
        return ""
    return MessageToString(message_type.FromString(data), as_one_line=True)
