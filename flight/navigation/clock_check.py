"""Whether the board's clock agrees with GNSS: a computer that starts with a wrong time of day believes a wrong place.

A second is 7.6 km along the track of a low orbit, and what is signed for a time span may seem over, or not begun.
"""

from __future__ import annotations

from flight.navigation.residual import Agreement

LIMIT_SECONDS = 1.0
"""Receivers tell a fix some tenths of a second after its moment; the step of a clock is seldom that small."""


class ClockMonitor:
    """Difference between the board's clock and GNSS time, with persistence both ways."""

    def __init__(self, limit_seconds: float = LIMIT_SECONDS, persistence: int = 3) -> None:
        self._limit_seconds = limit_seconds
        self._persistence = persistence
        self._contrary = 0
        self.agrees = True
        self.ahead_seconds = 0.0
        """By how much the board's clock is ahead of GNSS."""

    def update(self, clock_seconds: float, gnss_seconds: float) -> Agreement:
        """Take one good fix: when it was by the board's clock, and by the receiver's."""
        self.ahead_seconds = clock_seconds - gnss_seconds
        if (abs(self.ahead_seconds) <= self._limit_seconds) == self.agrees:
            self._contrary = 0
            return Agreement.UNCHANGED
        self._contrary += 1
        if self._contrary < self._persistence:
            return Agreement.UNCHANGED
        self._contrary = 0
        self.agrees = not self.agrees
        return Agreement.REGAINED if self.agrees else Agreement.LOST
