"""How a delivery endpoint behaves: sizes, times, and what each stream is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from skyrack.v1.options_pb2 import (
    STREAM_BULK,
    STREAM_EVENTS,
    STREAM_HOUSEKEEPING,
    STREAM_STATUS,
    Stream,
)

MAXIMUM_FRAME_BYTES: Final = 262_144
"""A larger frame is dropped unread."""

MAXIMUM_ITEM_BYTES: Final = 131_072
"""A larger item is refused by ``send``."""


@dataclass(frozen=True, slots=True)
class StreamPolicy:
    """What a stream is worth.

    ``window_ratio`` is the part of the window that the stream may fill: what is left stays free for more urgent
    streams. Beyond ``maximum_items`` or ``maximum_bytes`` waiting, a sheddable stream gives up its oldest items and
    any other refuses new ones.
    """

    name: str
    window_ratio: float
    sheddable: bool
    maximum_items: int
    maximum_bytes: int


POLICIES: Final[Mapping[int, StreamPolicy]] = {
    STREAM_STATUS: StreamPolicy("status", 1.0, sheddable=False, maximum_items=1_000_000, maximum_bytes=1 << 30),
    STREAM_EVENTS: StreamPolicy("events", 0.9, sheddable=True, maximum_items=100_000, maximum_bytes=64 << 20),
    STREAM_HOUSEKEEPING: StreamPolicy(
        "housekeeping", 0.75, sheddable=True, maximum_items=50_000, maximum_bytes=256 << 20
    ),
    STREAM_BULK: StreamPolicy("bulk", 0.5, sheddable=False, maximum_items=1_000_000, maximum_bytes=8 << 30),
}
"""The streams, most urgent first."""


def stream_name(stream: int) -> str:
    """The stream's name in topics and ledgers: ``"housekeeping"``."""
    policy = POLICIES.get(stream)
    return policy.name if policy else Stream.Name(stream).removeprefix("STREAM_").lower()


def stream_named(name: str) -> int:
    """The stream of that name. Raises ``KeyError`` when there is none."""
    return next((stream for stream, policy in POLICIES.items() if policy.name == name), 0) or Stream.Value(
        f"STREAM_{name.upper()}"
    )


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """Sizes in bytes; times in seconds of the event loop, which beside a real link is wall time."""

    window_bytes: int = 1 << 20
    window_items: int = 256
    frame_bytes: int = 32_768
    frame_items: int = 64
    acknowledge_after_seconds: float = 0.1
    acknowledge_after_items: int = 32
    gather_seconds: float = 0.0
    """How long a new item may wait for others to share its frame."""
    retransmit_initial_seconds: float = 3.0
    retransmit_minimum_seconds: float = 1.0
    retransmit_maximum_seconds: float = 60.0
    reconnect_minimum_seconds: float = 0.2
    reconnect_maximum_seconds: float = 5.0
    expiry_check_seconds: float = 30.0
    """Mission seconds between searches for expired items."""
    policies: Mapping[int, StreamPolicy] = field(default_factory=lambda: POLICIES)


TWIN_SETTINGS: Final = DeliverySettings(
    acknowledge_after_seconds=10.0,
    gather_seconds=1.0,
    retransmit_initial_seconds=30.0,
    retransmit_minimum_seconds=30.0,
    retransmit_maximum_seconds=300.0,
    reconnect_minimum_seconds=1.0,
    reconnect_maximum_seconds=15.0,
)
"""For virtual time: signatures are what a simulated second costs, so frames and acknowledgements gather longer."""
