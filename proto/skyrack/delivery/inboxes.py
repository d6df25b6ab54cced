"""The inboxes of an endpoint in SQLite. Every function runs inside a transaction of the caller's."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final

from skyrack.delivery.receiver import Inbox
from skyrack.delivery.sequences import SequenceSet

_EPOCHS_KEPT: Final = 4


def load_inbox(connection: sqlite3.Connection, source: str, stream: int, epoch: int) -> Inbox | None:
    """The inbox of a stream; a new one for a new epoch; ``None`` for an epoch older than those still known."""
    row = connection.execute(
        "SELECT floor, ranges, stored, skipped, forgotten, duplicates, rejected FROM delivery_received"
        " WHERE source = ? AND stream = ? AND epoch = ?",
        (source, stream, epoch),
    ).fetchone()
    if row is not None:
        return Inbox(SequenceSet.from_text(row[0], row[1]), *row[2:])
    epochs = [
        known
        for (known,) in connection.execute(
            "SELECT epoch FROM delivery_received WHERE source = ? AND stream = ? ORDER BY epoch DESC", (source, stream)
        )
    ]
    if epochs and epoch < epochs[0]:
        return None
    for old in epochs[_EPOCHS_KEPT - 1 :]:
        connection.execute(
            "DELETE FROM delivery_received WHERE source = ? AND stream = ? AND epoch = ?", (source, stream, old)
        )
    return Inbox()


def save_inbox(connection: sqlite3.Connection, source: str, stream: int, epoch: int, inbox: Inbox) -> None:
    """Keep the inbox with the items that it counts."""
    connection.execute(
        "INSERT OR REPLACE INTO delivery_received VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            source,
            stream,
            epoch,
            inbox.received.floor,
            inbox.received.to_text(),
            inbox.stored,
            inbox.skipped,
            inbox.forgotten,
            inbox.duplicates,
            inbox.rejected,
        ),
    )


def inboxes(connection: sqlite3.Connection, source: str | None = None) -> Iterator[tuple[str, int, int, Inbox]]:
    """(source, stream, epoch, inbox) of all, or of one source."""
    rows = connection.execute(
        "SELECT source, stream, epoch, floor, ranges, stored, skipped, forgotten, duplicates, rejected"
        " FROM delivery_received WHERE ?1 IS NULL OR source = ?1 ORDER BY 1, 2, 3",
        (source,),
    ).fetchall()
    for row in rows:
        yield row[0], row[1], row[2], Inbox(SequenceSet.from_text(row[3], row[4]), *row[5:])
