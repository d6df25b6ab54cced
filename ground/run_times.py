"""How long jobs ran, counted so that a histogram only grows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

__all__ = ["BOUNDS", "RunTimes"]

BOUNDS: Final = (10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 14_400.0, 43_200.0, 86_400.0)
"""Upper bounds of the histogram, mission seconds."""


@dataclass(slots=True)
class RunTimes:
    """Counts that only grow, as a histogram must, from records that are forgotten after a while."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    """Jobs at or under each bound, and all."""
    sum_seconds: float = 0.0
    _kept: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    _kept_seconds: float = 0.0

    def take(self, kept: list[int], kept_seconds: float) -> None:
        """Add what the records hold beyond the last look; where they hold less, some were forgotten."""
        self.counts = [
            count + max(0, now - then) for count, now, then in zip(self.counts, kept, self._kept, strict=True)
        ]
        self.sum_seconds += max(0.0, kept_seconds - self._kept_seconds)
        self._kept, self._kept_seconds = kept, kept_seconds
