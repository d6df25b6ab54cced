"""Telecommands and the stages that they reach."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from google.protobuf.text_format import MessageToString

from ground.records import CommandStage, TelecommandRecord
from ground.store.jobs import next_revision
from skyrack.dictionary import rpcs
from skyrack.v1 import backhaul_pb2
from skyrack.v1.backhaul_pb2 import TelecommandStage

__all__ = ["FINAL_STAGES", "advance", "expired", "insert", "list_telecommands", "load", "stage_name", "totals", "trim"]

FINAL_STAGES: Final = frozenset(
    {
        backhaul_pb2.TELECOMMAND_STAGE_COMPLETED,
        backhaul_pb2.TELECOMMAND_STAGE_FAILED,
        backhaul_pb2.TELECOMMAND_STAGE_EXPIRED,
    }
)


def stage_name(stage: int) -> str:
    """``COMPLETED`` for ``TELECOMMAND_STAGE_COMPLETED``."""
    return TelecommandStage.Name(stage).removeprefix("TELECOMMAND_STAGE_")


def insert(connection: sqlite3.Connection, satellite: str, command: backhaul_pb2.Telecommand, now: float) -> bool:
    """Keep a new telecommand; False when the same one is there already.

    Raises:
        ValueError: another telecommand has this id.
    """
    known = connection.execute(
        "SELECT satellite, service, method, request FROM telecommands WHERE command_id = ?", (command.command_id,)
    ).fetchone()
    if known is not None:
        if known == (satellite, command.service, command.method, command.request):
            return False
        raise ValueError(f"another telecommand has the id {command.command_id}; choose a new id")
    stage = backhaul_pb2.TELECOMMAND_STAGE_QUEUED
    connection.execute(
        "INSERT INTO telecommands (command_id, satellite, service, method, request, submitter, created_seconds, "
        "not_after_seconds, stage, is_open, revision) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?)",
        (
            command.command_id,
            satellite,
            command.service,
            command.method,
            command.request,
            command.submitter,
            now,
            command.not_after_seconds,
            stage,
            next_revision(connection),
        ),
    )
    connection.execute("INSERT INTO telecommand_stages VALUES (?, ?, '', ?)", (command.command_id, stage, now))
    return True


def advance(
    connection: sqlite3.Connection, command_id: str, stage: int, reason: str, at_seconds: float, response: bytes = b""
) -> bool:
    """A telecommand reached a stage; False when that changes nothing: known, overtaken, or after the end."""
    done = connection.execute(
        "UPDATE telecommands SET stage = ?1, is_open = ?2, reason = ?3, response = ?4, revision = ?5 "
        "WHERE command_id = ?6 AND is_open = 1 AND stage < ?1",
        (stage, int(stage not in FINAL_STAGES), reason, response, next_revision(connection), command_id),
    )
    # A stage that was overtaken on the way is still part of the story.
    connection.execute(
        "INSERT OR IGNORE INTO telecommand_stages SELECT command_id, ?, ?, ? FROM telecommands "
        "WHERE command_id = ? AND (is_open = 1 OR stage >= ?)",
        (stage, reason, at_seconds, command_id, stage),
    )
    return done.rowcount == 1


def expired(connection: sqlite3.Connection, before: float) -> list[str]:
    """Ids of open telecommands that ended before the given time and of whose fate nothing was heard."""
    rows = connection.execute(
        "SELECT command_id FROM telecommands WHERE is_open = 1 AND not_after_seconds > 0 AND not_after_seconds < ?",
        (before,),
    )
    return [command_id for (command_id,) in rows]


def trim(connection: sqlite3.Connection, before: float) -> None:
    """Forget telecommands that are over and whose time ended before the given mission time."""
    rows = connection.execute(
        "DELETE FROM telecommands WHERE is_open = 0 AND created_seconds < ?1 AND not_after_seconds < ?1 "
        "RETURNING command_id",
        (before,),
    ).fetchall()
    connection.executemany("DELETE FROM telecommand_stages WHERE command_id = ?", rows)


_RECORD: Final = (
    "SELECT command_id, satellite, service, method, request, submitter, created_seconds, not_after_seconds, stage, "
    "is_open, reason, response, revision FROM telecommands"
)


def load(connection: sqlite3.Connection, command_id: str) -> TelecommandRecord | None:
    """A telecommand with its stages, or None."""
    row = connection.execute(f"{_RECORD} WHERE command_id = ?", (command_id,)).fetchone()
    return None if row is None else _record(connection, row)


def list_telecommands(connection: sqlite3.Connection, limit: int, satellite: str = "") -> list[TelecommandRecord]:
    """The newest telecommands with their stages, newest last."""
    rows = connection.execute(
        f"{_RECORD} WHERE ?1 = '' OR satellite = ?1 ORDER BY created_seconds DESC, command_id DESC LIMIT ?2",
        (satellite, limit),
    ).fetchall()
    return [_record(connection, row) for row in reversed(rows)]


def totals(connection: sqlite3.Connection) -> dict[str, int]:
    """Number of telecommands by the name of their stage."""
    rows = connection.execute("SELECT stage, count(*) FROM telecommands GROUP BY stage ORDER BY stage")
    return {stage_name(stage): count for stage, count in rows}


def _record(connection: sqlite3.Connection, row: tuple[Any, ...]) -> TelecommandRecord:
    stages = connection.execute(
        "SELECT stage, reason, mission_time_seconds FROM telecommand_stages WHERE command_id = ? ORDER BY stage",
        (row[0],),
    )
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
        stages=tuple(CommandStage(stage_name(stage), reason, at) for stage, reason, at in stages),
    )


def _text(message_type: Any, data: bytes) -> str:
    if not data:
        return ""
    return MessageToString(message_type.FromString(data), as_one_line=True)
