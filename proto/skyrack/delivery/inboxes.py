"""The inboxes of an endpoint in its database. Every function runs inside a transaction of the caller's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from skyrack.database import Connection
from skyrack.delivery.receiver import Delivered, Inbox
from skyrack.delivery.sequences import SequenceSet

_EPOCHS_KEPT: Final = 4

_COUNTS: Final = ("floor", "ranges", "stored", "skipped", "forgotten", "duplicates", "rejected")
_SAVE: Final = (
    f"INSERT INTO delivery_received (source, stream, epoch, {', '.join(_COUNTS)})"  # noqa: S608 - names of ours
    f" VALUES (:source, :stream, :epoch, {', '.join(f':{name}' for name in _COUNTS)})"
    f" ON CONFLICT (source, stream, epoch) DO UPDATE SET {', '.join(f'{name} = :{name}' for name in _COUNTS)}"
)


def load_inbox(connection: Connection, source: str, stream: int, epoch: int) -> Inbox | None:
    """The inbox of a stream; a new one for a new epoch; ``None`` for an epoch older than those still known."""
    key = {"source": source, "stream": stream, "epoch": epoch}
    row = connection.execute(
        "SELECT floor, ranges, stored, skipped, forgotten, duplicates, rejected FROM delivery_received"
        " WHERE source = :source AND stream = :stream AND epoch = :epoch",
        key,
    ).fetchone()
    if row is not None:
        return Inbox(SequenceSet.from_text(row[0], row[1]), *row[2:])
    epochs = [
        known
        for (known,) in connection.execute(
            "SELECT epoch FROM delivery_received WHERE source = :source AND stream = :stream ORDER BY epoch DESC", key
        )
    ]
    if epochs and epoch < epochs[0]:
        return None
    for old in epochs[_EPOCHS_KEPT - 1 :]:
        connection.execute(
            "DELETE FROM delivery_received WHERE source = :source AND stream = :stream AND epoch = :epoch",
            {**key, "epoch": old},
        )
    return Inbox()


def received_all_before(connection: Connection, item: Delivered) -> bool:
    """Whether all that the item's sender said before it, in its stream, has been taken or given up."""
    row = connection.execute(
        "SELECT floor FROM delivery_received WHERE source = :source AND stream = :stream AND epoch = :epoch",
        {"source": item.source, "stream": item.stream, "epoch": item.epoch},
    ).fetchone()
    return row is not None and row[0] >= item.sequence - 1


def save_inbox(connection: Connection, source: str, stream: int, epoch: int, inbox: Inbox) -> None:
    """Keep the inbox with the items that it counts."""
    counts = {
        "floor": inbox.received.floor,
        "ranges": inbox.received.to_text(),
        "stored": inbox.stored,
        "skipped": inbox.skipped,
        "forgotten": inbox.forgotten,
        "duplicates": inbox.duplicates,
        "rejected": inbox.rejected,
    }
    connection.execute(_SAVE, {"source": source, "stream": stream, "epoch": epoch, **counts})


def inboxes(connection: Connection, source: str | None = None) -> Iterator[tuple[str, int, int, Inbox]]:
    """(source, stream, epoch, inbox) of all, or of one source."""
    of_one = "WHERE source = :source" if source is not None else ""
    rows = connection.execute(
        "SELECT source, stream, epoch, floor, ranges, stored, skipped, forgotten, duplicates, rejected"  # noqa: S608
        f" FROM delivery_received {of_one} ORDER BY 1, 2, 3",
        {"source": source},
    ).fetchall()
    for row in rows:
        yield row[0], row[1], row[2], Inbox(SequenceSet.from_text(row[3], row[4]), *row[5:])
