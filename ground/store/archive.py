"""The telemetry archive: batches as they came, found by satellite and on-board time.

A batch is one row, so that keeping a sample costs next to nothing; who asks for a message type in an interval pays for
taking apart the batches of that interval.
"""

from __future__ import annotations

import sqlite3

from skyrack.v1 import backhaul_pb2

__all__ = ["add_batch", "history", "recent_batches", "satellites", "totals", "trim"]


def add_batch(
    connection: sqlite3.Connection, satellite: str, batch: backhaul_pb2.TelemetryBatch, data: bytes, now: float
) -> None:
    """Keep a batch; ``data`` is the serialized payload that it came in."""
    samples = batch.samples
    if samples:
        connection.execute(
            "INSERT INTO telemetry (satellite, first_seconds, last_seconds, received_seconds, samples, batch) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (
                satellite,
                samples[0].mission_time_seconds,
                samples[-1].mission_time_seconds,
                now,
                len(samples),
                data,
            ),
        )


def history(
    connection: sqlite3.Connection, satellite: str, message_type: str, start: float, end: float
) -> list[backhaul_pb2.TelemetrySample]:
    """Samples of one message type whose on-board time lies in [start, end), in that order."""
    found = [
        sample
        for (data,) in connection.execute(
            "SELECT batch FROM telemetry WHERE satellite = ? AND last_seconds >= ? AND first_seconds < ?",
            (satellite, start, end),
        )
        for sample in backhaul_pb2.Payload.FromString(data).telemetry.samples
        if sample.message_type == message_type and start <= sample.mission_time_seconds < end
    ]
    found.sort(key=lambda sample: sample.mission_time_seconds)
    return found


def satellites(connection: sqlite3.Connection) -> list[str]:
    """Satellites of which anything is kept."""
    return [name for (name,) in connection.execute("SELECT DISTINCT satellite FROM telemetry ORDER BY satellite")]


def recent_batches(connection: sqlite3.Connection, satellite: str, seconds: float) -> list[tuple[float, bytes]]:
    """(reception time, batch) of the last ``seconds`` before the newest, oldest first."""
    rows = connection.execute(
        "SELECT received_seconds, batch FROM telemetry WHERE satellite = ?1 AND last_seconds > "
        "(SELECT max(last_seconds) FROM telemetry WHERE satellite = ?1) - ?2 ORDER BY last_seconds",
        (satellite, seconds),
    )
    return rows.fetchall()


def totals(connection: sqlite3.Connection) -> tuple[int, int]:
    """Batches and samples kept."""
    batches, samples = connection.execute("SELECT count(*), coalesce(sum(samples), 0) FROM telemetry").fetchone()
    return int(batches), int(samples)


def trim(connection: sqlite3.Connection, before: float) -> None:
    """Forget batches that came before the given mission time."""
    connection.execute("DELETE FROM telemetry WHERE received_seconds < ?", (before,))
