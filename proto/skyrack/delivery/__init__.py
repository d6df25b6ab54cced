"""Delivery that loses nothing, over a backhaul that may lose anything.

The sender writes an item to its outbox and repeats it until the receiver acknowledges it, which it does only after
it has the item on its own disk. The receiver records which sequences it has, so that each item is handed over once.
Items that expire or are shed become skip records, so that nothing ever waits for them, and a ledger on both sides
accounts for every sequence.

``Endpoint`` is one side, ``Link`` keeps it connected; sender, receiver and store are state machines without I/O.
"""

from __future__ import annotations

from skyrack.delivery.endpoint import Endpoint
from skyrack.delivery.frames import Refusal
from skyrack.delivery.inboxes import received_all_before
from skyrack.delivery.intake import ItemHandler, RejectItemError
from skyrack.delivery.ledger import ReceivedLedger, SentLedger, compare, reconcile
from skyrack.delivery.link import Link
from skyrack.delivery.peers import EndpointCounters
from skyrack.delivery.receiver import Delivered
from skyrack.delivery.sender import Sent
from skyrack.delivery.settings import (
    MAXIMUM_FRAME_BYTES,
    MAXIMUM_ITEM_BYTES,
    TWIN_SETTINGS,
    DeliverySettings,
    StreamPolicy,
    stream_name,
    stream_named,
)
from skyrack.delivery.store import OutboxFullError

__all__ = [
    "MAXIMUM_FRAME_BYTES",
    "MAXIMUM_ITEM_BYTES",
    "TWIN_SETTINGS",
    "Delivered",
    "DeliverySettings",
    "Endpoint",
    "EndpointCounters",
    "ItemHandler",
    "Link",
    "OutboxFullError",
    "ReceivedLedger",
    "Refusal",
    "RejectItemError",
    "Sent",
    "SentLedger",
    "StreamPolicy",
    "compare",
    "received_all_before",
    "reconcile",
    "stream_name",
    "stream_named",
]
