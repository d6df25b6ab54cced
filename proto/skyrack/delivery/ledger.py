"""The delivery ledger: what each side says of a stream, and whether the two agree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from skyrack.database import Connection
from skyrack.delivery.inboxes import inboxes
from skyrack.delivery.settings import stream_name


@dataclass(frozen=True, slots=True)
class SentLedger:
    """What a sender says of one stream. Counts are of sequences, since the epoch began."""

    source: str
    destination: str
    stream: str
    epoch: int
    accepted: int
    waiting: int
    """Not yet accounted for by the peer, skip records included."""
    expired: int
    shed: int
    delivered: int
    """Stored by the peer, by its own latest word."""
    skipped: int
    """Given up and never stored by the peer, by its own latest word."""
    forgotten: int


@dataclass(frozen=True, slots=True)
class ReceivedLedger:
    """What a receiver says of one stream."""

    source: str
    destination: str
    stream: str
    epoch: int
    stored: int
    skipped: int
    forgotten: int
    duplicates: int
    rejected: int
    gaps: int
    """Sequences that are missing below the highest known one."""


def sent_ledgers(connection: Connection, source: str, epoch: int) -> list[SentLedger]:
    """Read the ledgers of all streams sent from here."""
    rows = connection.execute(
        "SELECT s.destination, s.stream, s.next_sequence - 1, "
        " CAST(COALESCE(SUM(o.last_sequence - o.sequence + 1), 0) AS BIGINT),"
        " s.expired, s.shed, s.peer_stored, s.peer_skipped, s.peer_forgotten"
        " FROM delivery_sent s LEFT JOIN delivery_outbox o ON o.destination = s.destination AND o.stream = s.stream"
        " GROUP BY s.destination, s.stream ORDER BY 1, 2"
    ).fetchall()
    return [SentLedger(source, row[0], stream_name(row[1]), epoch, *row[2:]) for row in rows]


def received_ledgers(connection: Connection, destination: str) -> list[ReceivedLedger]:
    """Read the ledgers of all streams received here."""
    ledgers = []
    for source, stream, epoch, inbox in inboxes(connection):
        gaps, previous = 0, inbox.received.floor
        for first, last in inbox.received.ranges:
            gaps += first - previous - 1
            previous = last
        counts = (inbox.stored, inbox.skipped, inbox.forgotten, inbox.duplicates, inbox.rejected, gaps)
        ledgers.append(ReceivedLedger(source, destination, stream_name(stream), epoch, *counts))
    return ledgers


def reconcile(sent: Iterable[SentLedger], received: Iterable[ReceivedLedger]) -> list[str]:
    """Compare both sides; one sentence for each thing that does not add up, none when all is accounted for.

    What waits in an outbox is accounted for: it has not been lost. Read the sender's ledgers first.
    """
    there = {(row.source, row.destination, row.stream, row.epoch): row for row in received}
    problems: list[str] = []
    for row in sent:
        name = f"{row.source} to {row.destination}, {row.stream}"
        peer = there.get((row.source, row.destination, row.stream, row.epoch))
        settled = row.accepted - row.waiting
        accounted = peer.stored + peer.skipped + peer.forgotten if peer else 0
        if accounted < settled:
            problems.append(f"{name}: {settled} were acknowledged, but the receiver accounts for {accounted} only")
        if accounted > row.accepted:
            problems.append(f"{name}: the receiver accounts for {accounted}, but only {row.accepted} were accepted")
        if peer and peer.skipped > row.expired + row.shed:
            problems.append(
                f"{name}: the receiver was told to skip {peer.skipped}, the sender gave up {row.expired + row.shed}"
            )
        if peer and peer.forgotten:
            problems.append(f"{name}: the receiver's store lost what it knew of {peer.forgotten} items")
    return problems
