"""The outbox of an endpoint in its database. Every function runs inside a transaction of the caller's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from skyrack.database import Connection
from skyrack.delivery.sender import OutboxRow
from skyrack.delivery.settings import StreamPolicy
from skyrack.v1.backhaul_pb2 import SKIP_REASON_EXPIRED, SKIP_REASON_SHED, Acknowledgement

SCHEMA: Final = (
    """
    CREATE TABLE delivery_self (
        one INTEGER PRIMARY KEY CHECK (one = 1), epoch INTEGER NOT NULL, incarnation INTEGER NOT NULL
    );
    CREATE TABLE delivery_sent (
        destination TEXT NOT NULL, stream INTEGER NOT NULL,
        next_sequence INTEGER NOT NULL DEFAULT 1,
        waiting_items INTEGER NOT NULL DEFAULT 0, waiting_bytes INTEGER NOT NULL DEFAULT 0,
        expired INTEGER NOT NULL DEFAULT 0, shed INTEGER NOT NULL DEFAULT 0,
        peer_stored INTEGER NOT NULL DEFAULT 0, peer_skipped INTEGER NOT NULL DEFAULT 0,
        peer_forgotten INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (destination, stream)
    ) WITHOUT ROWID;
    CREATE TABLE delivery_outbox (
        id INTEGER PRIMARY KEY,
        destination TEXT NOT NULL, stream INTEGER NOT NULL,
        sequence INTEGER NOT NULL, last_sequence INTEGER NOT NULL,
        size_bytes INTEGER NOT NULL, skip_reason INTEGER NOT NULL,
        accepted_seconds REAL NOT NULL, not_after_seconds REAL NOT NULL, payload BLOB,
        UNIQUE (destination, stream, sequence)
    );
    CREATE INDEX delivery_outbox_expiry ON delivery_outbox (not_after_seconds) WHERE not_after_seconds > 0;
    CREATE TABLE delivery_received (
        source TEXT NOT NULL, stream INTEGER NOT NULL, epoch INTEGER NOT NULL,
        floor INTEGER NOT NULL, ranges TEXT NOT NULL,
        stored INTEGER NOT NULL, skipped INTEGER NOT NULL, forgotten INTEGER NOT NULL,
        duplicates INTEGER NOT NULL, rejected INTEGER NOT NULL,
        PRIMARY KEY (source, stream, epoch)
    ) WITHOUT ROWID;
    """,
)


class OutboxFullError(Exception):
    """The outbox of a stream that is never shed is full: the item was not accepted."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells one life of an endpoint from another."""

    epoch: int
    """Begins with the store: sequences count within it."""
    incarnation: int
    """Grows with every start, also over a store that was lost: it begins as the epoch does."""


def begin(connection: Connection, now: float) -> Identity:
    """Count a start of the endpoint. ``now`` is mission time: a store made later has a greater epoch."""
    connection.execute(
        "INSERT INTO delivery_self VALUES (1, :epoch, :epoch)"
        " ON CONFLICT (one) DO UPDATE SET incarnation = delivery_self.incarnation + 1",
        {"epoch": max(1, int(now * 1000))},
    )
    return Identity(*connection.execute("SELECT epoch, incarnation FROM delivery_self").fetchone())


@dataclass(frozen=True, slots=True)
class OutboxTotals:
    """What all streams of the outbox hold, and gave up so far."""

    waiting_items: int = 0
    waiting_bytes: int = 0
    given_up: int = 0


def totals(connection: Connection) -> OutboxTotals:
    """Sums over all destinations and streams."""
    row = connection.execute(
        "SELECT SUM(waiting_items), SUM(waiting_bytes), SUM(expired + shed) FROM delivery_sent"
    ).fetchone()
    return OutboxTotals(*(int(value or 0) for value in row))


def waiting_streams(connection: Connection) -> list[tuple[str, int]]:
    """(destination, stream) with anything in the outbox."""
    return list(connection.execute("SELECT DISTINCT destination, stream FROM delivery_outbox ORDER BY 1, 2").fetchall())


def enqueue(
    connection: Connection,
    destination: str,
    stream: int,
    payload: bytes,
    *,
    now: float,
    not_after: float,
    policy: StreamPolicy,
) -> int:
    """Accept an item: it is in the outbox when the transaction commits. Returns its sequence.

    Raises:
        OutboxFullError: too much is waiting already, and the stream is never shed.
    """
    size = len(payload)
    key = {"destination": destination, "stream": stream}
    ((sequence, items, waiting),) = connection.execute(
        "INSERT INTO delivery_sent AS sent (destination, stream, next_sequence, waiting_items, waiting_bytes)"
        " VALUES (:destination, :stream, 2, 1, :size) ON CONFLICT (destination, stream) DO UPDATE SET"
        " next_sequence = sent.next_sequence + 1, waiting_items = sent.waiting_items + 1,"
        " waiting_bytes = sent.waiting_bytes + :size"
        " RETURNING next_sequence - 1, waiting_items, waiting_bytes",
        {**key, "size": size},
    ).fetchall()
    connection.execute(
        "INSERT INTO delivery_outbox (destination, stream, sequence, last_sequence, size_bytes, skip_reason,"
        " accepted_seconds, not_after_seconds, payload)"
        " VALUES (:destination, :stream, :sequence, :sequence, :size, 0, :now, :not_after, :payload)",
        {**key, "sequence": sequence, "size": size, "now": now, "not_after": not_after, "payload": payload},
    )
    if items > policy.maximum_items or waiting > policy.maximum_bytes:
        if not policy.sheddable:
            raise OutboxFullError(
                f"{items - 1} items of {waiting - size} bytes wait for {destination} in stream {policy.name}, "
                f"at most {policy.maximum_items} items of {policy.maximum_bytes} bytes may; try again later"
            )
        _shed(connection, destination, stream, items, waiting, policy)
    return int(sequence)


def _shed(
    connection: Connection, destination: str, stream: int, items: int, waiting: int, policy: StreamPolicy
) -> None:
    """Give up the oldest items until a tenth of the room is free, so that it is not done for every item."""
    rows = connection.execute(
        "SELECT sequence, size_bytes FROM delivery_outbox"
        " WHERE destination = :destination AND stream = :stream AND skip_reason = 0 ORDER BY sequence",
        {"destination": destination, "stream": stream},
    )
    victims: list[int] = []
    for sequence, size in rows:
        if items <= policy.maximum_items * 0.9 and waiting <= policy.maximum_bytes * 0.9:
            break
        victims.append(sequence)
        items -= 1
        waiting -= size
    rows.close()
    _give_up(connection, destination, stream, victims, SKIP_REASON_SHED)


def expire(connection: Connection, now: float) -> list[tuple[str, int]]:
    """Turn items whose lifetime is over into skip records. Returns the (destination, stream) that changed."""
    rows = connection.execute(
        "SELECT destination, stream, sequence FROM delivery_outbox"
        " WHERE not_after_seconds > 0 AND not_after_seconds < :now ORDER BY 1, 2, 3",
        {"now": now},
    ).fetchall()
    victims: dict[tuple[str, int], list[int]] = {}
    for destination, stream, sequence in rows:
        victims.setdefault((destination, stream), []).append(sequence)
    for (destination, stream), sequences in victims.items():
        _give_up(connection, destination, stream, sequences, SKIP_REASON_EXPIRED)
    return list(victims)


def _give_up(connection: Connection, destination: str, stream: int, sequences: Sequence[int], reason: int) -> None:
    freed = 0
    key = {"destination": destination, "stream": stream}
    for sequence in sequences:
        item = {**key, "sequence": sequence, "reason": reason}
        ((size,),) = connection.execute(
            "SELECT size_bytes FROM delivery_outbox"
            " WHERE destination = :destination AND stream = :stream AND sequence = :sequence",
            item,
        ).fetchall()
        freed += size
        connection.execute(
            "UPDATE delivery_outbox SET payload = NULL, size_bytes = 0, not_after_seconds = 0, skip_reason = :reason"
            " WHERE destination = :destination AND stream = :stream AND sequence = :sequence",
            item,
        )
    expired, shed = (0, len(sequences)) if reason == SKIP_REASON_SHED else (len(sequences), 0)
    connection.execute(
        "UPDATE delivery_sent SET expired = expired + :expired, shed = shed + :shed,"
        " waiting_items = waiting_items - :items, waiting_bytes = waiting_bytes - :freed"
        " WHERE destination = :destination AND stream = :stream",
        {**key, "expired": expired, "shed": shed, "items": len(sequences), "freed": freed},
    )
    _merge_skips(connection, destination, stream)


def _merge_skips(connection: Connection, destination: str, stream: int) -> None:
    """Make one record of neighbours, so that a long outage leaves few."""
    rows = connection.execute(
        "SELECT id, sequence, last_sequence, skip_reason FROM delivery_outbox"
        " WHERE destination = :destination AND stream = :stream AND skip_reason > 0 ORDER BY sequence",
        {"destination": destination, "stream": stream},
    ).fetchall()
    run: tuple[int, int, int, int] | None = None
    for identity, first, last, reason in rows:
        if run is not None and first == run[2] + 1 and reason == run[3]:
            connection.execute("DELETE FROM delivery_outbox WHERE id = :id", {"id": identity})
            connection.execute(
                "UPDATE delivery_outbox SET last_sequence = :last WHERE id = :id", {"last": last, "id": run[0]}
            )
            run = (run[0], run[1], last, reason)
        else:
            run = (identity, first, last, reason)


def head(connection: Connection, destination: str, stream: int, limit: int) -> list[OutboxRow]:
    """The oldest rows of a stream."""
    rows = connection.execute(
        "SELECT sequence, last_sequence, size_bytes, skip_reason, accepted_seconds, not_after_seconds"
        " FROM delivery_outbox WHERE destination = :destination AND stream = :stream ORDER BY sequence LIMIT :limit",
        {"destination": destination, "stream": stream, "limit": limit},
    )
    return [OutboxRow(*row) for row in rows]


def payloads(connection: Connection, destination: str, stream: int, sequences: Iterable[int]) -> dict[int, bytes]:
    """Payloads by sequence; what has left the outbox, or was given up, is missing."""
    found: dict[int, bytes] = {}
    for sequence in sequences:
        row = connection.execute(
            "SELECT payload FROM delivery_outbox"
            " WHERE destination = :destination AND stream = :stream AND sequence = :sequence",
            {"destination": destination, "stream": stream, "sequence": sequence},
        ).fetchone()
        if row is not None and row[0] is not None:
            found[sequence] = row[0]
    return found


def acknowledge(connection: Connection, destination: str, acknowledgement: Acknowledgement) -> bool:
    """Drop what the peer has. Returns whether the acknowledgement can be true (the sequences were ever sent)."""
    stream = acknowledgement.stream
    key = {"destination": destination, "stream": stream}
    row = connection.execute(
        "SELECT next_sequence FROM delivery_sent WHERE destination = :destination AND stream = :stream", key
    ).fetchone()
    ranges = [(1, acknowledgement.cumulative_sequence)]
    ranges += [(beyond.first, beyond.last) for beyond in acknowledgement.beyond]
    if max(last for _, last in ranges) >= (row[0] if row else 1):
        return False
    items = size = 0
    for first, last in ranges:
        removed = connection.execute(
            "DELETE FROM delivery_outbox WHERE destination = :destination AND stream = :stream"
            " AND sequence >= :first AND sequence <= :last AND last_sequence <= :last"
            " RETURNING skip_reason, size_bytes",
            {**key, "first": first, "last": last},
        ).fetchall()
        items += sum(1 for skip_reason, _ in removed if not skip_reason)
        size += sum(size_bytes for _, size_bytes in removed)
    totals_of_peer = {
        "stored": acknowledgement.stored_total,
        "skipped": acknowledgement.skipped_total,
        "forgotten": acknowledgement.forgotten_total,
    }
    greatest = ", ".join(
        f"peer_{name} = CASE WHEN peer_{name} < :{name} THEN :{name} ELSE peer_{name} END" for name in totals_of_peer
    )
    connection.execute(
        "UPDATE delivery_sent SET waiting_items = waiting_items - :items,"  # noqa: S608 - names of ours
        f" waiting_bytes = waiting_bytes - :size, {greatest} WHERE destination = :destination AND stream = :stream",
        {**key, "items": items, "size": size, **totals_of_peer},
    )
    return True
