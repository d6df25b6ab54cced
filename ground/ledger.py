"""The proof that nothing was lost: both sides' delivery ledgers, compared stream by stream."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from google.protobuf.text_format import Parse

from ground.records import TelecommandRecord
from ground.segment import GroundSegment
from skyrack.delivery import ReceivedLedger, SentLedger, compare, stream_name
from skyrack.v1.gateway_pb2 import GetLedgerRequest, GetLedgerResponse, StreamLedger

__all__ = ["Ledgers", "SatelliteVerdict", "StreamVerdict", "judge", "told", "verify"]

Ledgers = tuple[Sequence[SentLedger], Sequence[ReceivedLedger]]
"""What one side sent, and what it received."""

_LIFETIME_SECONDS: Final = 3600.0
"""Mission time for which the question may wait for a contact."""


@dataclass(frozen=True, slots=True)
class StreamVerdict:
    """One stream, by the word of both its ends. Counts are of items since the sender's store began.

    The receiver was read first, so that what it counts was accepted: ``accepted`` is the sum of ``stored``,
    ``skipped``, what the receiver forgot and ``waiting``, but where something is lost.
    """

    source: str
    destination: str
    stream: str
    accepted: int
    # With the receiver, each counted once.
    stored: int
    # Given up by the sender, and told so: too old, or shed.
    skipped: int
    # Accepted, and not with the receiver when it was asked: neither lost nor delivered.
    waiting: int
    duplicates: int
    # Of those stored: of no use to the receiver, and said so.
    rejected: int
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SatelliteVerdict:
    """Whether a satellite's ledger and the ground's agree."""

    satellite: str
    is_answered: bool
    # Every stream adds up; what waits is not lost.
    is_sound: bool
    waiting: int
    streams: tuple[StreamVerdict, ...]
    # Why nothing is proven, where the satellite did not answer.
    reason: str = ""


def judge(before: Ledgers, board: Ledgers, after: Ledgers, ground: str, satellite: str) -> list[StreamVerdict]:
    """Compare all streams between ground and satellite.

    The ground's ledgers were read before the satellite's, and again after them.
    """
    early, late = _of(before, ground, satellite), _of(after, ground, satellite)
    there = _of(board, satellite, ground)
    verdicts = []
    for key, sent in sorted(late[0].items()):
        verdicts.append(_verdict(early[0].get(key, sent), sent, there[1].get(key), there[1].get(key)))
    for key, sent in sorted(there[0].items()):
        verdicts.append(_verdict(sent, sent, early[1].get(key), late[1].get(key)))
    return verdicts


_Key = tuple[str, str, str, int]


def _of(ledgers: Ledgers, here: str, there: str) -> tuple[dict[_Key, SentLedger], dict[_Key, ReceivedLedger]]:
    sent, received = ledgers
    return (
        {(row.source, row.destination, row.stream, row.epoch): row for row in sent if row.destination == there},
        {
            (row.source, row.destination, row.stream, row.epoch): row
            for row in received
            if row.source == there and row.destination == here
        },
    )


def _verdict(
    sent_early: SentLedger,
    sent_late: SentLedger,
    received_early: ReceivedLedger | None,
    received_late: ReceivedLedger | None,
) -> StreamVerdict:
    problems = compare(sent_early, sent_late, received_early, received_late)
    there = received_early or ReceivedLedger(
        sent_late.source, sent_late.destination, sent_late.stream, sent_late.epoch, 0, 0, 0, 0, 0, 0
    )
    on_the_way = sent_late.accepted - there.stored - there.skipped - there.forgotten
    return StreamVerdict(
        source=sent_late.source,
        destination=sent_late.destination,
        stream=sent_late.stream,
        accepted=sent_late.accepted,
        stored=there.stored,
        skipped=there.skipped,
        waiting=sent_late.waiting if problems else on_the_way,
        duplicates=there.duplicates,
        rejected=there.rejected,
        problems=tuple(problems),
    )


def told(response: GetLedgerResponse) -> Ledgers:
    """A satellite's ledgers as it told them."""
    sent = [
        SentLedger(
            row.source,
            row.destination,
            stream_name(row.stream),
            row.epoch,
            accepted=row.accepted,
            waiting=row.waiting,
            expired=row.expired,
            shed=row.shed,
            delivered=row.delivered,
            skipped=row.skipped,
            forgotten=row.forgotten,
        )
        for row in response.sent
    ]
    return sent, [_received(row) for row in response.received]


def _received(row: StreamLedger) -> ReceivedLedger:
    return ReceivedLedger(
        row.source,
        row.destination,
        stream_name(row.stream),
        row.epoch,
        stored=row.stored,
        skipped=row.skipped,
        forgotten=row.forgotten,
        duplicates=row.duplicates,
        rejected=row.rejected,
        gaps=row.gaps,
    )


async def verify(segment: GroundSegment, satellite: str, submitter: str, wait_seconds: float) -> SatelliteVerdict:
    """Ask a satellite for its ledger and compare; waits for the answer so many wall seconds.

    Raises:
        UnknownError: there is no such satellite.
        StorageError: the ground's database failed.
    """
    before = await segment.ledgers()
    record = await segment.send(
        satellite, "GetLedger", GetLedgerRequest(), submitter=submitter, lifetime_seconds=_LIFETIME_SECONDS
    )
    record = await _ended(segment, record, wait_seconds)
    if record.stage != "COMPLETED":
        reason = f"it has not answered in {wait_seconds:g} s" if not record.is_final else record.reason
        return SatelliteVerdict(satellite, is_answered=False, is_sound=False, waiting=0, streams=(), reason=reason)
    board = told(Parse(record.response, GetLedgerResponse()))
    streams = judge(before, board, await segment.ledgers(), segment.name, satellite)
    return SatelliteVerdict(
        satellite,
        is_answered=True,
        is_sound=not any(_problems(streams)),
        waiting=sum(row.waiting for row in streams),
        streams=tuple(streams),
    )


def _problems(streams: Iterable[StreamVerdict]) -> list[str]:
    return [problem for row in streams for problem in row.problems]


async def _ended(segment: GroundSegment, record: TelecommandRecord, wait_seconds: float) -> TelecommandRecord:
    loop = asyncio.get_running_loop()
    end = loop.time() + wait_seconds
    while not record.is_final and (left := end - loop.time()) > 0 and not segment.is_closing:
        waiter = segment.changed.waiter()
        record = await segment.telecommand(record.command_id)
        if not record.is_final:
            await asyncio.wait([waiter], timeout=left)
        waiter.cancel()
    return await segment.telecommand(record.command_id)
