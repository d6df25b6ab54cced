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

    What waits in an outbox is accounted for: it has not been lost. Read the sender's ledgers first, and while nothing
    is being sent; ``compare`` needs no such silence.
    """
    there = {(row.source, row.destination, row.stream, row.epoch): row for row in received}
    problems: list[str] = []
    for row in sent:
        peer = there.get((row.source, row.destination, row.stream, row.epoch))
        name = f"{row.source} to {row.destination}, {row.stream}"
        problems += [f"{name}: {problem}" for problem in compare(row, row, peer, peer)]
    return problems


def compare(
    sent_early: SentLedger,
    sent_late: SentLedger,
    received_early: ReceivedLedger | None,
    received_late: ReceivedLedger | None,
) -> list[str]:
    """What does not add up in one stream while both sides go on; ``None`` is a receiver that knows nothing of it.

    ``sent_early`` was read before ``received_late``, and ``received_early`` before ``sent_late``: what was settled is
    compared with what the receiver accounts for later, and what the receiver has with what was accepted later. So
    nothing that is on the way looks lost, and nothing that is lost looks on the way.
    """
    settled = sent_early.accepted - sent_early.waiting
    problems: list[str] = []
    if _accounted(received_late) < settled:
        problems.append(f"{settled} were acknowledged, but the receiver accounts for {_accounted(received_late)} only")
    if _accounted(received_early) > sent_late.accepted:
        problems.append(
            f"the receiver accounts for {_accounted(received_early)}, but only {sent_late.accepted} were accepted"
        )
    given_up = sent_late.expired + sent_late.shed
    if received_early and received_early.skipped > given_up:
        problems.append(f"the receiver was told to skip {received_early.skipped}, the sender gave up {given_up}")
    if received_late and received_late.forgotten:
        problems.append(f"the receiver's store lost what it knew of {received_late.forgotten} items")
    return problems


def _accounted(row: ReceivedLedger | None) -> int:
    return row.stored + row.skipped + row.forgotten if row else 0
