"""What came up and is to be done, durable: each telecommand, placement and cancellation once, ever.

Every function runs in a transaction of the caller's. The row of a thing done stays as its replay guard until the
thing could not be valid any more.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError

from flight.gateway import packages
from skyrack.delivery import Delivered, RejectItemError
from skyrack.signing import Right
from skyrack.v1.backhaul_pb2 import Payload

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
)

TELECOMMAND: Final = "telecommand"
PLACEMENT: Final = "job_placement"
CANCEL: Final = "job_cancel"

RIGHTS: Final = {
    TELECOMMAND: Right.COMMAND,
    PLACEMENT: Right.SUBMIT,
    CANCEL: Right.SUBMIT,
    "file_chunk": Right.SUBMIT,
}


@dataclass(frozen=True, slots=True)
class Work:
    """One thing to do."""

    id: int
    kind: str
    payload: Payload
    started: bool
    """It was begun in an earlier life, and nobody knows how it ended."""


def take(
    connection: sqlite3.Connection,
    item: Delivered,
    now: float,
    may: Callable[[str, Right], bool],
    on_new_telecommand: Callable[[sqlite3.Connection, Payload], None],
) -> None:
    """Record what came up. ``may(key_id, right)`` knows the key ring.

    Raises:
        RejectItemError: the item is malformed, of a kind that does not come up, or not this key's business.
    """
    try:
        payload = Payload.FromString(item.payload)
    except DecodeError:
        raise RejectItemError("it is not a payload") from None
    kind = payload.WhichOneof("kind") or "nothing"
    right = RIGHTS.get(kind)
    if right is None:
        raise RejectItemError(f"{kind} does not come up to a satellite")
    if not may(item.key_id, right):
        raise RejectItemError(f"key {item.key_id} of {item.source} may not {right}")
    if kind == "file_chunk":
        chunk = payload.file_chunk
        is_over = _is_done(connection, PLACEMENT, f"{chunk.job_id}/{chunk.attempt}")
        packages.add_chunk(connection, chunk, now, is_over=is_over)
        return
    if _insert(connection, kind, item, payload) and kind == TELECOMMAND:
        on_new_telecommand(connection, payload)


def _is_done(connection: sqlite3.Connection, kind: str, key: str) -> bool:
    row = connection.execute("SELECT state FROM gateway_work WHERE kind = ? AND key = ?", (kind, key)).fetchone()
    return row is not None and row[0] == "done"


def _insert(connection: sqlite3.Connection, kind: str, item: Delivered, payload: Payload) -> bool:
    if kind == TELECOMMAND:
        command = payload.telecommand
        identity, key = command.command_id, f"{item.key_id}/{command.command_id}"
        valid_until = command.not_after_seconds
    elif kind == PLACEMENT:
        placement = payload.job_placement
        identity = placement.spec.job_id
        key, valid_until = f"{identity}/{placement.attempt}", placement.lease_end_seconds
        connection.execute(
            "INSERT OR REPLACE INTO gateway_jobs VALUES (?, ?, ?)",
            (identity, placement.attempt, placement.spec.package_sha256),
        )
    else:
        identity = payload.job_cancel.job_id
        # A cancellation may be given again: each is another item.
        key, valid_until = f"{identity}/{payload.job_cancel.attempt}/{item.epoch}/{item.sequence}", 1.0
    if not identity:
        raise RejectItemError(f"{kind} without an id")
    cursor = connection.execute(
        "INSERT OR IGNORE INTO gateway_work (kind, key, key_id, valid_until, payload) VALUES (?, ?, ?, ?, ?)",
        (kind, key, item.key_id, valid_until, item.payload),
    )
    return cursor.rowcount > 0


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


def prune(
    connection: sqlite3.Connection, now: float, packages_directory: Path | None, margin_seconds: float = 86_400.0
) -> None:
    """Drop the guards of what is no longer valid, whoever repeats it, and packages that nobody asks for."""
    connection.execute(
        "DELETE FROM gateway_work WHERE state = 'done' AND valid_until > 0 AND valid_until < ?", (now - margin_seconds,)
    )
    packages.prune(connection, now - margin_seconds, packages_directory)
