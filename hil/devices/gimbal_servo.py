"""A servo without feedback: from angles to pulses, and where it must be by now. Pure arithmetic.

Radio-control servos take pulses of 1 to 2 ms for some 90 degrees, most of 0.5 to 2.5 ms for 180, and say nothing of
where they are: a model of their slew does. Those are the figures that makers print; none was measured here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServoScale:
    """Calibration of a servo.

    Attributes:
        centre_seconds: pulse at 0 degrees.
        seconds_per_degree: negative for a servo that is mounted the other way round.
        shortest_seconds, longest_seconds: pulses that its stops allow.
        step_seconds: resolution of whoever makes the pulses.
    """

    centre_seconds: float
    seconds_per_degree: float
    shortest_seconds: float
    longest_seconds: float
    step_seconds: float

    def steps(self, degrees: float) -> int:
        """The pulse for an angle, within the stops."""
        seconds = self.centre_seconds + degrees * self.seconds_per_degree
        return round(min(self.longest_seconds, max(self.shortest_seconds, seconds)) / self.step_seconds)

    def degrees(self, steps: int) -> float:
        """The angle that a pulse means: what was asked for, in the steps that there are."""
        return (steps * self.step_seconds - self.centre_seconds) / self.seconds_per_degree

    @property
    def reach_degrees(self) -> float:
        """How far it turns to either side."""
        nearer = min(self.centre_seconds - self.shortest_seconds, self.longest_seconds - self.centre_seconds)
        return abs(nearer / self.seconds_per_degree)


class ServoModel:
    """Where a servo is that turns at a steady rate towards what it was told."""

    def __init__(self, degrees_per_second: float, settle_seconds: float) -> None:
        """``settle_seconds`` is how long it swings after it has arrived."""
        self._rate = degrees_per_second
        self._settle = settle_seconds
        self._from = 0.0
        self._to = 0.0
        self._since = -1e9

    def command(self, degrees: float, now: float) -> None:
        """Turn to an angle from wherever it is at ``now`` (s)."""
        if degrees != self._to:
            self._from, self._to, self._since = self.degrees(now), degrees, now

    def degrees(self, now: float) -> float:
        """Where it is."""
        left = self._to - self._from
        turned = self._rate * max(0.0, now - self._since)
        return self._to if turned >= abs(left) else self._from + (turned if left > 0.0 else -turned)

    def settled(self, now: float) -> bool:
        """Whether it stands where it was told to."""
        return now - self._since >= abs(self._to - self._from) / self._rate + self._settle
