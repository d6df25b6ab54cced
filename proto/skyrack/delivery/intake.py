"""What happens to a verified frame inside one database transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from skyrack.database import Connection
from skyrack.delivery import inboxes, store
from skyrack.delivery.receiver import Delivered
from skyrack.v1.backhaul_pb2 import Acknowledgement, Frame

C = TypeVar("C", bound=Connection)

ItemHandler = Callable[[C, Delivered], None]
"""Takes an item over, within the transaction that counts it. May raise ``RejectItemError``."""


class RejectItemError(Exception):
    """Raised by an item's handler: the item is of no use here. It counts as delivered, and as rejected.

    What the handler wrote for it is undone.
    """


@dataclass(slots=True)
class Intake:
    """What one frame changed."""

    delivered: list[Delivered] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    acknowledgement: Acknowledgement | None = None
    """For the frame's own stream; ``None`` when it had no items, or they are of an epoch long over."""
    stale: bool = False
    acknowledged: list[Acknowledgement] = field(default_factory=list)
    """Acknowledgements that were true of what we sent."""
    impossible: int = 0
    """Acknowledgements of what we never sent."""


def take(connection: C, frame: Frame, key_id: str, own_epoch: int, handler: ItemHandler[C]) -> Intake:
    """Settle the frame's acknowledgements, and hand its new items to ``handler``."""
    intake = Intake()
    for acknowledgement in frame.acknowledgements:
        if acknowledgement.epoch != own_epoch:
            continue
        if store.acknowledge(connection, frame.source, acknowledgement):
            intake.acknowledged.append(acknowledgement)
        else:
            intake.impossible += 1
    if not frame.items:
        return intake
    inbox = inboxes.load_inbox(connection, frame.source, frame.stream, frame.epoch)
    if inbox is None:
        intake.stale = True
        return intake
    inbox.begin(frame.low_sequence)
    for item in inbox.fresh(list(frame.items)):
        delivered = Delivered(
            source=frame.source,
            stream=frame.stream,
            epoch=frame.epoch,
            sequence=item.sequence,
            payload=item.payload,
            accepted_seconds=item.accepted_seconds,
            not_after_seconds=item.not_after_seconds,
            key_id=key_id,
        )
        connection.execute("SAVEPOINT item")
        try:
            handler(connection, delivered)
        except RejectItemError as error:
            connection.execute("ROLLBACK TO item")
            inbox.rejected += 1
            intake.rejected.append(str(error))
        else:
            intake.delivered.append(delivered)
        connection.execute("RELEASE item")
    inboxes.save_inbox(connection, frame.source, frame.stream, frame.epoch, inbox)
    intake.acknowledgement = inbox.acknowledgement(frame.stream, frame.epoch)
    return intake


def acknowledgements_for(connection: Connection, source: str) -> list[Acknowledgement]:
    """What to tell a peer that has just connected: all that is known of its streams."""
    return [inbox.acknowledgement(stream, epoch) for _, stream, epoch, inbox in inboxes.inboxes(connection, source)]
