"""Limits, watched by their edges: a value is looked at again only when it leaves the band of its last level. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from ground.telemetry.plans import Column
from skyrack.limits import Level, Limits, LimitSet

__all__ = ["Crossing", "Watched", "band", "watched"]

DEADBAND_RATIO: Final = 0.02
"""A value must come back by this part of its limit, or of the span between the limits, before the level falls."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """A field of one instance changed its level."""

    field: str
    labels: tuple[str, ...]
    level: Level
    value: float
    mission_time_seconds: float


@dataclass(slots=True)
class Watched:
    """One limited number of a row, and the band that its last level holds in."""

    index: int
    column: Column
    limits: Limits
    level: Level | None = None
    # No value lies in the first band: the first one that comes is looked at.
    low: float = math.inf
    high: float = -math.inf

    def move(self, value: float, at: float) -> Crossing | None:
        """The value has left the band: find its level, with hysteresis on the way back."""
        level = self.limits.level(value)
        if level is not self.level:
            self.level = level
            self.low, self.high = band(self.limits, level)
            return Crossing(self.column.field, self.column.labels, level, value, at)
        return None


def band(limits: Limits, level: Level) -> tuple[float, float]:
    """Between which values a level goes on, once it has been reached."""
    inf = math.inf
    deadband = _deadband(limits)
    low_edges = [limits.red_low, limits.yellow_low]
    high_edges = [limits.yellow_high, limits.red_high]
    inner_low = max((edge for edge in low_edges if edge is not None), default=-inf)
    inner_high = min((edge for edge in high_edges if edge is not None), default=inf)
    if level is Level.NOMINAL:
        return inner_low, inner_high
    if level is Level.YELLOW_HIGH:
        return _or(limits.yellow_high, -inf) - deadband, _or(limits.red_high, inf)
    if level is Level.YELLOW_LOW:
        return _or(limits.red_low, -inf), _or(limits.yellow_low, inf) + deadband
    if level is Level.RED_HIGH:
        return _or(limits.red_high, -inf) - deadband, inf
    return -inf, _or(limits.red_low, inf) + deadband


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _deadband(limits: Limits) -> float:
    edges = [edge for _, edge in limits.items() if edge is not None]
    if not edges:
        return 0.0
    # With room between the limits, its part; else part of the limit itself. Never more than a quarter of a step.
    span = max(edges) - min(edges)
    steps = [right - left for left, right in pairwise(edges) if right > left]
    return min([DEADBAND_RATIO * (span or abs(edges[0])), *(step / 4 for step in steps)])


def watched(columns: Sequence[Column], limits: LimitSet) -> list[Watched]:
    """The limited numbers of a row; none has been seen yet."""
    found = []
    for index, column in enumerate(columns):
        of = limits.of(column.field)
        if any(edge is not None for _, edge in of.items()):
            found.append(Watched(index, column, of))
    return found
