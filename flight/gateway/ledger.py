"""This side's delivery ledger, as it is told to the ground."""

from __future__ import annotations

import sqlite3

from skyrack.delivery import Endpoint, stream_named
from skyrack.v1.gateway_pb2 import GetLedgerResponse


async def ledger_of(endpoint: Endpoint[sqlite3.Connection]) -> GetLedgerResponse:
    """Read it; both halves stem from one moment. Raises ``StorageError``."""
    sent, received = await endpoint.ledgers()
    response = GetLedgerResponse()
    for out in sent:
        response.sent.add(
            source=out.source,
            destination=out.destination,
            stream=stream_named(out.stream),
            epoch=out.epoch,
            accepted=out.accepted,
            waiting=out.waiting,
            expired=out.expired,
            shed=out.shed,
            delivered=out.delivered,
            skipped=out.skipped,
            forgotten=out.forgotten,
        )
    for back in received:
        response.received.add(
            source=back.source,
            destination=back.destination,
            stream=stream_named(back.stream),
            epoch=back.epoch,
            stored=back.stored,
            skipped=back.skipped,
            forgotten=back.forgotten,
            duplicates=back.duplicates,
            rejected=back.rejected,
            gaps=back.gaps,
        )
    return response
