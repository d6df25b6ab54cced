"""Whether a sensor may be believed: against what it should show, and against how it scatters.

Three questions, each with persistence (residual-based fault detection; Wertz and others, Space Mission Engineering,
ch. 21, call it model-based monitoring):

- has it been silent for too long,
- has it not moved to the last bit while what it should show did, or for far longer than it ever stood still,
- does it scatter more than its kind does (root mean square of steps of the residual), or stand away from what it should
  show for long (mean of the residual)?

Means are exponential, so a single outlier is forgiven and a lasting one is not.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum


class Doubt(Enum):
    """What is wrong with a sensor."""

    SILENT = "silent"
    STUCK = "stuck"
    NOISY = "noisy"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What is usual of a kind of sensor, in its unit; infinity where a question is not to be asked.

    Attributes:
        scatter: root mean square of the residual's steps from reading to reading.
        residual: mean of what it shows over what it should show.
        moved: what it should show may have moved by so much while it stands still.
        repeats: so many equal readings in a row are too many of a sensor that was seen to move with every few; 0 where
            that is not to be asked, as of an open switch. A reading of nothing counts as moving.
    """

    scatter: float = math.inf
    residual: float = math.inf
    moved: float = math.inf
    repeats: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """A doubt that began (or, with ``over``, ended) about a sensor."""

    sensor: str
    doubt: Doubt
    over: bool
    amount: float
    """How far off it is, or how much it scatters, in its unit."""


class SensorCheck:
    """One sensor. ``mean_seconds`` is the time constant of means, ``patience_seconds`` that of silence."""

    def __init__(
        self, name: str, tolerance: Tolerance, mean_seconds: float = 60.0, patience_seconds: float = 10.0
    ) -> None:
        self.name = name
        self.tolerance = tolerance
        self._mean_seconds = mean_seconds
        self._patience_seconds = patience_seconds
        self._time: float | None = None
        self._good_at: float | None = None
        self._value = math.nan
        self._residual = math.nan
        self._expected_when_moved = 0.0
        self._still = 0
        self._readings = 0
        self._longest_still = 0
        self._weight = 0.0
        self.mean_residual = 0.0
        self._mean_square = 0.0
        self._told: dict[Doubt, None] = {}

    @property
    def scatter(self) -> float:
        """Root mean square of the residual's steps."""
        return math.sqrt(self._mean_square)

    @property
    def doubts(self) -> frozenset[Doubt]:
        """What is wrong with it as of the last look."""
        return frozenset(self._told)

    def look(self, now: float, value: float | None, expected: float) -> list[Change]:
        """Take a reading, ``None`` where there is no good one, and what it should be; what changed."""
        if self._good_at is None:
            self._good_at = now
        if value is None or not math.isfinite(value):
            silent = now - self._good_at > self._patience_seconds
            return self._tell({Doubt.SILENT} if silent else self._told.keys())
        self._take(now, value, expected)
        return self._tell(self._found(expected))

    def _take(self, now: float, value: float, expected: float) -> None:
        self._good_at = now
        residual = value - expected
        self._readings += 1
        if Doubt.STUCK in self._told and value != self._value:
            # What it showed meanwhile says nothing of how it scatters, or how far it is off.
            self._weight = self.mean_residual = self._mean_square = 0.0
            self._residual = math.nan
        if value == self._value and value != 0.0:
            self._still += 1
        else:
            if Doubt.STUCK not in self._told:
                self._longest_still = max(self._longest_still, self._still)
            self._still, self._expected_when_moved = 0, expected
        if self._time is not None and math.isfinite(self._residual):
            # What 1 - exp(-x) is to first order, and never more than the whole.
            share = min(1.0, max(0.0, now - self._time) / self._mean_seconds)
            self._weight += share * (1.0 - self._weight)
            self.mean_residual += share * (residual - self.mean_residual)
            # One step is no scatter, however large: what is off from one reading to the next has not begun to scatter.
            step = min(abs(residual - self._residual), _LARGEST_STEP_RATIO * self.tolerance.scatter)
            self._mean_square += share * (step * step - self._mean_square)
        self._time, self._value, self._residual = now, value, residual

    def _found(self, expected: float) -> set[Doubt] | frozenset[Doubt]:
        tolerance = self.tolerance
        if self._still >= _STILL_READINGS and abs(expected - self._expected_when_moved) > tolerance.moved:
            return {Doubt.STUCK}
        most = max(tolerance.repeats, _REPEATS_RATIO * self._longest_still)
        if tolerance.repeats and self._still >= most and self._readings - self._still >= _SEEN_READINGS:
            return {Doubt.STUCK}
        if self._weight < _LEARNED_WEIGHT:
            return set(self._told) - {Doubt.SILENT, Doubt.STUCK}
        scatter, residual = math.sqrt(self._mean_square), abs(self.mean_residual)
        if not self._told and scatter <= tolerance.scatter and residual <= tolerance.residual:
            return _NOTHING
        found = set()
        # What was told is over when it is well below what it took to tell it.
        if scatter > tolerance.scatter * (_OVER_RATIO if Doubt.NOISY in self._told else 1.0):
            found.add(Doubt.NOISY)
        # The mean of what scatters scatters, too.
        most_residual = tolerance.residual + (scatter if Doubt.NOISY in found else 0.0)
        if residual > most_residual * (_OVER_RATIO if Doubt.OFF in self._told else 1.0):
            found.add(Doubt.OFF)
        return found

    def _tell(self, found: Collection[Doubt]) -> list[Change]:
        if not found and not self._told:
            return []
        now_there = dict.fromkeys(doubt for doubt in Doubt if doubt in found)
        changes = [
            Change(self.name, doubt, True, self._amount(doubt)) for doubt in self._told if doubt not in now_there
        ]
        changes += [
            Change(self.name, doubt, False, self._amount(doubt)) for doubt in now_there if doubt not in self._told
        ]
        self._told = now_there
        return changes

    def _amount(self, doubt: Doubt) -> float:
        return self.scatter if doubt is Doubt.NOISY else self.mean_residual


_NOTHING: frozenset[Doubt] = frozenset()
_STILL_READINGS = 10
_LARGEST_STEP_RATIO = 3.0
_REPEATS_RATIO = 10
_SEEN_READINGS = 120
_LEARNED_WEIGHT = 0.6
"""Means say something when about one time constant has passed."""
_OVER_RATIO = 0.6


def told(change: Change, unit: str) -> tuple[str, str]:
    """Name and text of the event that tells a change."""
    if change.over:
        return "sensor_trusted", f"{change.sensor} is no longer {change.doubt.value}"
    how = {
        Doubt.SILENT: "gives no usable reading",
        Doubt.STUCK: "does not move while what it measures does",
        Doubt.NOISY: f"scatters by {abs(change.amount):.3g} {unit}",
        Doubt.OFF: f"is off by {change.amount:+.3g} {unit} from what it should be",
    }[change.doubt]
    return f"sensor_{change.doubt.value}", f"{change.sensor} {how}"
