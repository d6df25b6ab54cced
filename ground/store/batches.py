"""Telemetry batches as they came, until they are sealed into chunks: one row each, so that taking one in costs little.

Batches that a remote write has still to send stay as ``outgoing`` after they were sealed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from skyrack.storage import Connection
from skyrack.v1 import backhaul_pb2

__all__ = ["RawBatch", "add", "drop", "drop_sent", "outgoing", "totals", "trim", "unsealed"]


@dataclass(frozen=True, slots=True)
class RawBatch:
    """A batch, serialized as the payload that it came in."""

    id: int
    satellite: str
    received_seconds: float
    data: bytes

    def batch(self) -> backhaul_pb2.TelemetryBatch:
        """Decoded."""
        return backhaul_pb2.Payload.FromString(self.data).telemetry


def add(
    connection: Connection, satellite: str, batch: backhaul_pb2.TelemetryBatch, data: bytes, now: float
) -> int | None:
    """Keep a batch; ``data`` is the serialized payload that it came in. Its id; None of an empty one."""
    samples = batch.samples
    if not samples:
        return None
    row = connection.execute(
        "INSERT INTO telemetry_batches (satellite, received_seconds, samples, batch) "
        "VALUES (:satellite, :now, :samples, :data) RETURNING id",
        {
            "satellite": satellite,
            "now": now,
            "samples": len(samples),
            "data": data,
        },
    ).fetchall()
    return int(row[0][0])


def unsealed(connection: Connection, after_id: int, limit: int = 500) -> list[RawBatch]:
    """Batches that are in no chunk yet, in the order in which they came."""
    rows = connection.execute(
        "SELECT id, satellite, received_seconds, batch FROM telemetry_batches WHERE id > :after "
        "ORDER BY id LIMIT :limit",
        {"after": after_id, "limit": limit},
    ).fetchall()
    return [RawBatch(int(row[0]), row[1], row[2], bytes(row[3])) for row in rows]


def drop(connection: Connection, ids: Sequence[int], *, keep_for_sending: bool) -> None:
    """These are sealed now."""
    rows = [{"id": number} for number in ids]
    if not rows:
        return
    if keep_for_sending:
        connection.executemany(
            "INSERT INTO telemetry_outgoing (id, satellite, received_seconds, batch) "
            "SELECT id, satellite, received_seconds, batch FROM telemetry_batches WHERE id = :id",
            rows,
        )
    connection.executemany("DELETE FROM telemetry_batches WHERE id = :id", rows)


def outgoing(connection: Connection, after_id: int, limit: int = 50) -> list[RawBatch]:
    """Batches after an id, sealed or not, in the order in which they came."""
    rows = connection.execute(
        "SELECT id, satellite, received_seconds, batch FROM telemetry_batches WHERE id > :after "
        "UNION ALL SELECT id, satellite, received_seconds, batch FROM telemetry_outgoing WHERE id > :after "
        "ORDER BY id LIMIT :limit",
        {"after": after_id, "limit": limit},
    ).fetchall()
    return [RawBatch(int(row[0]), row[1], row[2], bytes(row[3])) for row in rows]


def drop_sent(connection: Connection, up_to_id: int) -> None:
    """These have been sent, or never will be."""
    connection.execute("DELETE FROM telemetry_outgoing WHERE id <= :id", {"id": up_to_id})


def totals(connection: Connection) -> tuple[int, int]:
    """Batches and messages that are not sealed yet."""
    row = connection.execute("SELECT count(*), coalesce(sum(samples), 0) FROM telemetry_batches").fetchone()
    return int(row[0]), int(row[1])


def cursor(connection: Connection, name: str) -> tuple[int, int]:
    """How far a reader of batches has come, and how many samples it gave up."""
    row = connection.execute(
        "SELECT position, dropped FROM telemetry_cursors WHERE name = :name", {"name": name}
    ).fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


def advance(connection: Connection, name: str, position: int, dropped: int) -> None:
    """A reader has come so far."""
    connection.execute(
        "INSERT INTO telemetry_cursors (name, position, dropped) VALUES (:name, :position, :dropped) "
        "ON CONFLICT (name) DO UPDATE SET position = excluded.position, dropped = excluded.dropped",
        {"name": name, "position": position, "dropped": dropped},
    )


def trim(connection: Connection, before_seconds: float) -> int:
    """Forget batches that came earlier and were never sealed, or never sent; how many of the latter."""
    connection.execute("DELETE FROM telemetry_batches WHERE received_seconds < :before", {"before": before_seconds})
    return connection.execute(
        "DELETE FROM telemetry_outgoing WHERE received_seconds < :before", {"before": before_seconds}
    ).rowcount
