"""Whether GNSS and prediction agree: one bad fix is noise, several in a row are an orbit that has changed."""

from __future__ import annotations

from enum import Enum

from skyrack.orbits import Vector, distance


class Agreement(Enum):
    """What a fix changed."""

    UNCHANGED = "unchanged"
    LOST = "lost"
    REGAINED = "regained"


class ResidualMonitor:
    """Distance between measured and predicted position, with persistence both ways."""

    def __init__(self, limit_meters: float, persistence: int = 5) -> None:
        self.limit_meters = limit_meters
        self._persistence = persistence
        self._contrary = 0
        self.agrees = True
        self.residual_meters = 0.0

    def update(self, measured: Vector, predicted: Vector) -> Agreement:
        """Take one good fix and the prediction for the same moment (m)."""
        self.residual_meters = distance(measured, predicted)
        if (self.residual_meters <= self.limit_meters) == self.agrees:
            self._contrary = 0
            return Agreement.UNCHANGED
        self._contrary += 1
        if self._contrary < self._persistence:
            return Agreement.UNCHANGED
        self._contrary = 0
        self.agrees = not self.agrees
        return Agreement.REGAINED if self.agrees else Agreement.LOST
