"""What happens to a verified frame inside one database transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from skyrack.database import Connection
from skyrack.delivery import inboxes, store
from skyrack.delivery.receiver import Delivered, Inbox
from skyrack.v1.backhaul_pb2 import Acknowledgement, Frame, Item

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
    intake = _acknowledged(connection, frame, own_epoch)
    if not frame.items:
        return intake
    inbox = inboxes.load_inbox(connection, frame.source, frame.stream, frame.epoch)
    if inbox is None:
        intake.stale = True
        return intake
    inbox.begin(frame.low_sequence)
    for item in inbox.fresh(list(frame.items)):
        delivered = _delivered(frame, item, key_id)
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


def take_all(
    connection: C, frames: Sequence[tuple[Frame, str]], own_epoch: int, handler: ItemHandler[C]
) -> list[Intake]:
    """Take several frames, each with the key that signed it, in their order, at the cost of few statements.

    What ``handler`` raises is raised, also ``RejectItemError``: then nothing of the transaction may be kept, and the
    frames are to be taken one by one.
    """
    intakes: list[Intake] = []
    known: dict[tuple[str, int, int], tuple[Inbox | None, list[Intake]]] = {}
    key: tuple[str, int, int]
    for frame, key_id in frames:
        intake = _acknowledged(connection, frame, own_epoch)
        intakes.append(intake)
        if not frame.items:
            continue
        key = (frame.source, frame.stream, frame.epoch)
        if key not in known:
            known[key] = (inboxes.load_inbox(connection, *key), [])
        inbox, together = known[key]
        if inbox is None:
            intake.stale = True
            continue
        together.append(intake)
        inbox.begin(frame.low_sequence)
        for item in inbox.fresh(list(frame.items)):
            delivered = _delivered(frame, item, key_id)
            handler(connection, delivered)
            intake.delivered.append(delivered)
    for key, (inbox, together) in known.items():
        if inbox is not None:
            inboxes.save_inbox(connection, *key, inbox)
            acknowledgement = inbox.acknowledgement(*key[1:])
            for intake in together:
                intake.acknowledgement = acknowledgement
    return intakes


def _acknowledged(connection: Connection, frame: Frame, own_epoch: int) -> Intake:
    """An intake with the frame's acknowledgements settled, and no items yet."""
    intake = Intake()
    for acknowledgement in frame.acknowledgements:
        if acknowledgement.epoch != own_epoch:
            continue
        if store.acknowledge(connection, frame.source, acknowledgement):
            intake.acknowledged.append(acknowledgement)
        else:
            intake.impossible += 1
    return intake


def _delivered(frame: Frame, item: Item, key_id: str) -> Delivered:
    return Delivered(
        source=frame.source,
        stream=frame.stream,
        epoch=frame.epoch,
        sequence=item.sequence,
        payload=item.payload,
        accepted_seconds=item.accepted_seconds,
        not_after_seconds=item.not_after_seconds,
        key_id=key_id,
    )


def acknowledgements_for(connection: Connection, source: str) -> list[Acknowledgement]:
    """What to tell a peer that has just connected: all that is known of its streams."""
    return [inbox.acknowledgement(stream, epoch) for _, stream, epoch, inbox in inboxes.inboxes(connection, source)]
