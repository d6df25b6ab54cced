"""What came up and is to be done, durable: each telecommand, placement and cancellation once, ever.

Every function runs in a transaction of the caller's. The row of a thing done stays as its replay guard until the
thing could not be valid any more.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final

from flight.gateway import packages
from skyrack.v1.backhaul_pb2 import Payload
from skyrack.v1.job_pb2 import JobPlacement

SCHEMA: Final = (
    """
    CREATE TABLE gateway_work (
        id INTEGER PRIMARY KEY,
        kind TEXT NOT NULL, key TEXT NOT NULL, key_id TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'pending',
        valid_until REAL NOT NULL, payload BLOB,
        UNIQUE (kind, key)
    );
    CREATE INDEX gateway_work_open ON gateway_work (kind, id) WHERE state <> 'done';
    CREATE TABLE gateway_packages (
        sha256 BLOB PRIMARY KEY, total_bytes INTEGER NOT NULL, received_bytes INTEGER NOT NULL, state TEXT NOT NULL,
        seen_seconds REAL NOT NULL
    );
    CREATE TABLE gateway_chunks (
        sha256 BLOB NOT NULL, offset_bytes INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (sha256, offset_bytes)
    );
    CREATE TABLE gateway_jobs (
        job_id TEXT NOT NULL, attempt INTEGER NOT NULL, sha256 BLOB NOT NULL, PRIMARY KEY (job_id, attempt)
    );
    CREATE TABLE gateway_sent_keys (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE);
    """,
    """
    CREATE TABLE gateway_orders (
        digest BLOB PRIMARY KEY, key_id TEXT NOT NULL, order_id TEXT NOT NULL, valid_until REAL NOT NULL,
        UNIQUE (key_id, order_id)
    );
    """,
    """
    DROP TABLE gateway_packages;
    DROP TABLE gateway_chunks;
    DROP TABLE gateway_jobs;
    """,
)

TELECOMMAND: Final = "telecommand"
PLACEMENT: Final = "job_placement"
CANCEL: Final = "job_cancel"
LEASE: Final = "job_lease"


@dataclass(frozen=True, slots=True)
class Work:
    """One thing to do."""

    id: int
    kind: str
    payload: Payload
    started: bool
    """It was begun in an earlier life, and nobody knows how it ended."""


def remember(connection: sqlite3.Connection, digest: bytes, key_id: str, order_id: str, valid_until: float) -> bool:
    """Note that an order came; False when it had come before, whoever signed it beside the first signer.

    Raises:
        ValueError: the same signer gave another order under the same id.
    """
    new = connection.execute(
        "INSERT INTO gateway_orders (digest, key_id, order_id, valid_until) "
        "VALUES (:digest, :key_id, :order_id, :valid_until) ON CONFLICT DO NOTHING",
        {"digest": digest, "key_id": key_id, "order_id": order_id, "valid_until": valid_until},
    )
    if new.rowcount > 0:
        return True
    if connection.execute("SELECT 1 FROM gateway_orders WHERE digest = :digest", {"digest": digest}).fetchone():
        return False
    raise ValueError(f"another order {order_id} came before")


def take_unsigned(connection: sqlite3.Connection, payload: Payload) -> bool:
    """Record what a relay may bring on its own: leases, questions. False when it is another thing."""
    kind = payload.WhichOneof("kind")
    if kind == "open_jobs":
        return True  # heeded when it is committed, and forgotten with the process: it will be asked again
    if kind == LEASE:
        lease = payload.job_lease
        add(connection, LEASE, f"{lease.job_id}/{lease.attempt}/{lease.lease_end_seconds}", "", 1.0, payload)
        return True
    return False


def is_done(connection: sqlite3.Connection, kind: str, key: str) -> bool:
    """Whether a thing came and has been done."""
    row = connection.execute("SELECT state FROM gateway_work WHERE kind = ? AND key = ?", (kind, key)).fetchone()
    return row is not None and row[0] == "done"


def add(connection: sqlite3.Connection, kind: str, key: str, key_id: str, valid_until: float, payload: Payload) -> bool:
    """Record something to do; False when it was there already, done or not."""
    cursor = connection.execute(
        "INSERT INTO gateway_work (kind, key, key_id, valid_until, payload) "
        "VALUES (:kind, :key, :key_id, :valid_until, :payload) ON CONFLICT DO NOTHING",
        {
            "kind": kind,
            "key": key,
            "key_id": key_id,
            "valid_until": valid_until,
            "payload": payload.SerializeToString(),
        },
    )
    return cursor.rowcount > 0


def add_placement(connection: sqlite3.Connection, key_id: str, placement: JobPlacement) -> bool:
    """Record a job to run, once for each attempt; False when it was there already."""
    job_id, attempt = placement.spec.job_id, placement.attempt
    packages.need(connection, placement)
    payload = Payload(job_placement=placement)
    return add(connection, PLACEMENT, f"{job_id}/{attempt}", key_id, placement.lease_end_seconds, payload)


def open_work(connection: sqlite3.Connection, *kinds: str) -> list[Work]:
    """What is to be done, in the order in which it came."""
    marks = ", ".join("?" * len(kinds))
    rows = connection.execute(
        f"SELECT id, kind, payload, state FROM gateway_work WHERE kind IN ({marks}) AND state <> 'done' ORDER BY id",  # noqa: S608 - question marks only
        kinds,
    )
    return [Work(row[0], row[1], Payload.FromString(row[2]), row[3] == "started") for row in rows]


def started(connection: sqlite3.Connection, work_id: int) -> None:
    """It is about to be done: should the gateway die now, it must not be done again."""
    connection.execute("UPDATE gateway_work SET state = 'started' WHERE id = ?", (work_id,))


def done(connection: sqlite3.Connection, work_id: int) -> None:
    """It is done, or will never be."""
    connection.execute("UPDATE gateway_work SET state = 'done', payload = NULL WHERE id = ?", (work_id,))


def prune(connection: sqlite3.Connection, before: float) -> None:
    """Drop the guards of what was no longer valid before a mission time, whoever repeats it."""
    over = "valid_until > 0 AND valid_until < :before"
    connection.execute(f"DELETE FROM gateway_work WHERE state = 'done' AND {over}", {"before": before})  # noqa: S608 - a constant
    connection.execute(f"DELETE FROM gateway_orders WHERE {over}", {"before": before})  # noqa: S608 - a constant
