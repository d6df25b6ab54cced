"""The receiving side of delivery: which items of a stream are new. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from skyrack.delivery.sequences import SequenceSet
from skyrack.v1.backhaul_pb2 import Acknowledgement, Frame, Item, SequenceRange

MAXIMUM_RANGES: Final = 1024
"""Gaps that a stream may have; an item that would open one more is left for its sender to repeat."""

MAXIMUM_REQUESTS: Final = 256
MAXIMUM_REQUEST_BYTES: Final = 1024

MAXIMUM_SEQUENCE: Final = 1 << 62


class MalformedFrameError(ValueError):
    """The frame breaks the protocol; nothing of it was used."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """An item that arrived for the first time."""

    source: str
    stream: int
    epoch: int
    sequence: int
    payload: bytes
    accepted_seconds: float
    """Mission time at which the sender took responsibility for it."""
    not_after_seconds: float
    """Mission time after which it is of no use; 0 is never."""
    key_id: str
    """Key that signed the frame."""


@dataclass(slots=True)
class Inbox:
    """One epoch of one stream from one source, as the receiver has it on disk."""

    received: SequenceSet = field(default_factory=SequenceSet)
    stored: int = 0
    skipped: int = 0
    forgotten: int = 0
    duplicates: int = 0
    rejected: int = 0
    """Of those stored: refused by the application."""

    def begin(self, low_sequence: int) -> None:
        """Everything below ``low_sequence`` was acknowledged; what is missing here, a lost store acknowledged."""
        if low_sequence > 1:
            self.forgotten += self.received.add(1, low_sequence - 1)

    def fresh(self, items: list[Item]) -> Iterator[Item]:
        """Take the items over; yields those to hand to the application."""
        for item in items:
            if item.HasField("skip"):
                last = item.skip.last_sequence
                new = self.received.add(item.sequence, last)
                self.skipped += new
                self.duplicates += new == 0
            elif item.sequence in self.received:
                self.duplicates += 1
            elif len(self.received.ranges) < MAXIMUM_RANGES or item.sequence == self.received.floor + 1:
                self.received.add(item.sequence, item.sequence)
                self.stored += 1
                yield item

    def acknowledgement(self, stream: int, epoch: int) -> Acknowledgement:
        """What to tell the sender."""
        return Acknowledgement(
            stream=stream,  # type: ignore[arg-type]
            epoch=epoch,
            cumulative_sequence=self.received.floor,
            beyond=[SequenceRange(first=first, last=last) for first, last in self.received.ranges[:64]],
            stored_total=self.stored,
            skipped_total=self.skipped,
            forgotten_total=self.forgotten,
        )


def check(frame: Frame) -> None:
    """Check what no field type checks.

    Raises:
        MalformedFrameError: a sequence is out of range, an item is empty.
    """
    if len(frame.items) and not (frame.stream and frame.epoch):
        raise MalformedFrameError("items without a stream and an epoch")
    if frame.low_sequence > MAXIMUM_SEQUENCE:
        raise MalformedFrameError(f"low_sequence {frame.low_sequence} is out of range")
    for item in frame.items:
        if not 1 <= item.sequence <= MAXIMUM_SEQUENCE:
            raise MalformedFrameError(f"sequence {item.sequence} is out of range")
        body = item.WhichOneof("body")
        if body is None:
            raise MalformedFrameError(f"item {item.sequence} is empty")
        if body == "skip" and not item.sequence <= item.skip.last_sequence <= MAXIMUM_SEQUENCE:
            raise MalformedFrameError(f"skip from {item.sequence} to {item.skip.last_sequence} is out of order")
    if len(frame.block_requests) > MAXIMUM_REQUESTS or any(
        len(request.wanted) > MAXIMUM_REQUEST_BYTES for request in frame.block_requests
    ):
        raise MalformedFrameError("a request for blocks is out of range")
    for acknowledgement in frame.acknowledgements:
        if acknowledgement.cumulative_sequence > MAXIMUM_SEQUENCE or len(acknowledgement.beyond) > MAXIMUM_RANGES:
            raise MalformedFrameError("an acknowledgement is out of range")


class ReplayWindow:
    """Tells a frame that was seen before from a new one (as IPsec does, RFC 4303), per source and in memory.

    It is the first of two guards, and the one that makes replays visible; what keeps an item from being executed
    twice is the receiver's record on disk.
    """

    __slots__ = ("_highest", "_incarnation", "_seen")

    SIZE: Final = 1024

    def __init__(self) -> None:
        self._incarnation = 0
        self._highest = 0
        self._seen = 0

    def accept(self, incarnation: int, sequence: int) -> bool:
        """Whether the frame is new; from then on it is not."""
        if incarnation < self._incarnation:
            return False
        if incarnation > self._incarnation:
            self._incarnation, self._highest, self._seen = incarnation, 0, 0
        if sequence > self._highest:
            shift = sequence - self._highest
            self._seen = 1 if shift >= self.SIZE else ((self._seen << shift) | 1) & ((1 << self.SIZE) - 1)
            self._highest = sequence
            return True
        age = self._highest - sequence
        if age >= self.SIZE or self._seen >> age & 1:
            return False
        self._seen |= 1 << age
        return True
