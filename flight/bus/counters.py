"""What the bus counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class BusCounters:
    """Totals since the bus was opened."""

    published: int = 0
    received: int = 0
    # Frames that could not be parsed, and were dropped.
    malformed: int = 0
    # Messages that a sequence number shows were sent and never came.
    missed: int = 0
    # Messages that came again with a known sequence number, and were dropped.
    duplicates: int = 0
    # Times that a subscriber's queue ran full (it did not get this message nor those until it has room again; how many,
    # it counts as missed), or an answer found nobody to take it.
    dropped: int = 0
    handler_errors: int = 0
    requests_sent: int = 0
    requests_timed_out: int = 0
    requests_served: int = 0
    requests_refused: int = 0
    # Requests that came after their sender had given up, and were not executed.
    requests_expired: int = 0
