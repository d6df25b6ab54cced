"""The telemetry archive: batches as they came, found by satellite and on-board time.

A batch is one row, so that keeping a sample costs next to nothing; who asks for a message type in an interval pays for
taking apart the batches of that interval.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam, delete, func, insert, select

from ground.connection import Connection
from ground.store.schema import telemetry
from skyrack.v1 import backhaul_pb2

__all__ = ["add_batch", "history", "recent_batches", "satellites", "totals", "trim"]

_ADD: Final = insert(telemetry)
_HISTORY: Final = select(telemetry.c.batch).where(
    telemetry.c.satellite == bindparam("satellite"),
    telemetry.c.last_seconds >= bindparam("start"),
    telemetry.c.first_seconds < bindparam("end"),
)
_NEWEST: Final = (
    select(func.max(telemetry.c.last_seconds)).where(telemetry.c.satellite == bindparam("satellite")).scalar_subquery()
)
_RECENT: Final = (
    select(telemetry.c.received_seconds, telemetry.c.batch)
    .where(telemetry.c.satellite == bindparam("satellite"), telemetry.c.last_seconds > _NEWEST - bindparam("seconds"))
    .order_by(telemetry.c.last_seconds)
)


def add_batch(
    connection: Connection, satellite: str, batch: backhaul_pb2.TelemetryBatch, data: bytes, now: float
) -> None:
    """Keep a batch; ``data`` is the serialized payload that it came in."""
    samples = batch.samples
    if samples:
        row = {
            "satellite": satellite,
            "first_seconds": samples[0].mission_time_seconds,
            "last_seconds": samples[-1].mission_time_seconds,
            "received_seconds": now,
            "samples": len(samples),
            "batch": data,
        }
        connection.execute(_ADD, row)


def history(
    connection: Connection, satellite: str, message_type: str, start: float, end: float
) -> list[backhaul_pb2.TelemetrySample]:
    """Samples of one message type whose on-board time lies in [start, end), in that order."""
    batches = connection.execute(_HISTORY, {"satellite": satellite, "start": start, "end": end}).scalars()
    found = [
        sample
        for data in batches
        for sample in backhaul_pb2.Payload.FromString(data).telemetry.samples
        if sample.message_type == message_type and start <= sample.mission_time_seconds < end
    ]
    found.sort(key=lambda sample: sample.mission_time_seconds)
    return found


def satellites(connection: Connection) -> list[str]:
    """Satellites of which anything is kept."""
    statement = select(telemetry.c.satellite).distinct().order_by(telemetry.c.satellite)
    return list(connection.execute(statement).scalars())


def recent_batches(connection: Connection, satellite: str, seconds: float) -> list[tuple[float, bytes]]:
    """(reception time, batch) of the last ``seconds`` before the newest, oldest first."""
    rows = connection.execute(_RECENT, {"satellite": satellite, "seconds": seconds})
    return [(at, batch) for at, batch in rows]


def totals(connection: Connection) -> tuple[int, int]:
    """Batches and samples kept."""
    statement = select(func.count(), func.coalesce(func.sum(telemetry.c.samples), 0)).select_from(telemetry)
    batches, samples = connection.execute(statement).one()
    return int(batches), int(samples)


def trim(connection: Connection, before: float) -> None:
    """Forget batches that came before the given mission time."""
    connection.execute(delete(telemetry).where(telemetry.c.received_seconds < before))
