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
    # Messages sent while the queue of a subscriber was full, so that this subscriber did not get them.
    dropped: int = 0
    handler_errors: int = 0
    requests_sent: int = 0
    requests_timed_out: int = 0
    requests_served: int = 0
    requests_refused: int = 0
    # Requests that came after their sender had given up, and were not executed.
    requests_expired: int = 0
