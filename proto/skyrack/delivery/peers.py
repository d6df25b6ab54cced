"""What an endpoint keeps in memory: its counters, and what it knows of the others."""

from __future__ import annotations

from dataclasses import dataclass, field

from skyrack.delivery.frames import Refusal
from skyrack.delivery.sender import Sender
from skyrack.v1.backhaul_pb2 import Acknowledgement


@dataclass(slots=True)
class EndpointCounters:
    """What an endpoint did since its start."""

    sessions: int = 0
    frames_sent: int = 0
    frames_received: int = 0
    items_received: int = 0
    items_rejected: int = 0
    storage_errors: int = 0
    handler_errors: int = 0
    impossible_acknowledgements: int = 0
    refused: dict[Refusal, int] = field(default_factory=lambda: dict.fromkeys(Refusal, 0))


@dataclass(slots=True)
class Peer:
    """What an endpoint knows of one other."""

    name: str
    sender: Sender
    reachable: bool = True
    hello: bool = True
    """To be greeted, which asks for all its acknowledgements."""
    answer: bool = False
    """Has greeted, and is to hear at least that we are here."""
    probe_at: float = 0.0
    """When to greet it again while it is out of reach, in loop time: word of its return may have been lost."""
    owed: dict[tuple[int, int], Acknowledgement] = field(default_factory=dict)
    owed_items: int = 0
    owed_since: float = 0.0
