"""Where a beam comes from, found with a detector that tells only how much light there is. Pure arithmetic.

With one photodiode, the line of sight is led around a small circle (a conical scan). The detector's acceptance is taken
for Gaussian: looking at x while the partner is at p,

    P(x) = P0 exp(-2 |x - p|^2 / w^2),  so  ln P(x) + 2 |x|^2 / w^2 = c + (4 / w^2) p . x

which is linear in p: three looks that are not in a line give it, and more are a fit, weighted by P^2, since noise of
the power is noise of its logarithm over P. Looks before and after the circle's centre moved fit together.
With four photodiodes, one look does.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final, NamedTuple

CIRCLE_LOOKS: Final = 4
# The fit may not point further from where light was seen than this many acceptance radii.
_FARTHEST: Final = 1.2
# Below this part of the weight in each direction, the looks are in a line.
_FLATTEST: Final = 1e-3

Direction = tuple[float, float]


class Look(NamedTuple):
    """Light in watts, seen in a direction: angles in radians, both in one frame."""

    x: float
    y: float
    watts: float
    at_seconds: float


class Beam(NamedTuple):
    """Where the partner is, and the light that would be seen looking there or, unlit, the light that there was."""

    lit: bool
    x: float
    y: float
    watts: float


def circle(look: int, radius_radians: float) -> Direction:
    """Where to look, from the circle's centre."""
    angle = 2.0 * math.pi * look / CIRCLE_LOOKS
    return radius_radians * math.cos(angle), radius_radians * math.sin(angle)


class BeamFit:
    """The last looks, and the beam that fits them."""

    def __init__(self, acceptance_radians: float, floor_watts: float, window_seconds: float) -> None:
        """``acceptance_radians`` is w above; less light than ``floor_watts`` is darkness."""
        self._width = acceptance_radians
        self._floor = floor_watts
        self._window = window_seconds
        self._looks: deque[Look] = deque(maxlen=CIRCLE_LOOKS)

    def add(self, look: Look) -> None:
        """Another look."""
        self._looks.append(look)

    def forget(self) -> None:
        """What was seen is of another partner, or too old."""
        self._looks.clear()

    def beam(self, now: float) -> Beam | None:
        """What fits; ``None`` before there is a whole circle of looks."""
        looks = [look for look in self._looks if now - look.at_seconds <= self._window]
        if len(looks) < CIRCLE_LOOKS:
            return None
        brightest = max(look.watts for look in looks)
        if brightest <= self._floor:
            return Beam(lit=False, x=0.0, y=0.0, watts=sum(look.watts for look in looks) / len(looks))
        # Darkness counts as the floor: how dark exactly is noise.
        weights = [max(look.watts, self._floor) ** 2 for look in looks]
        total = sum(weights)
        x0 = sum(w * look.x for w, look in zip(weights, looks, strict=True)) / total
        y0 = sum(w * look.y for w, look in zip(weights, looks, strict=True)) / total
        x, y = self._fit(looks, weights, (x0, y0)) or (x0, y0)
        away = math.hypot(x - x0, y - y0)
        if away > _FARTHEST * self._width:
            x, y = (centre + (at - centre) * _FARTHEST * self._width / away for at, centre in ((x, x0), (y, y0)))
        return Beam(lit=True, x=x, y=y, watts=brightest)

    def _fit(self, looks: list[Look], weights: list[float], centre: Direction) -> Direction | None:
        """Weighted least squares of p, with all angles from ``centre``."""
        square = self._width**2
        logs = [math.log(max(look.watts, self._floor)) for look in looks]
        dx = [look.x - centre[0] for look in looks]
        dy = [look.y - centre[1] for look in looks]
        values = [log + 2.0 * (x * x + y * y) / square for log, x, y in zip(logs, dx, dy, strict=True)]
        total = sum(weights)
        mean = sum(w * v for w, v in zip(weights, values, strict=True)) / total
        xx = sum(w * x * x for w, x in zip(weights, dx, strict=True))
        yy = sum(w * y * y for w, y in zip(weights, dy, strict=True))
        xy = sum(w * x * y for w, x, y in zip(weights, dx, dy, strict=True))
        xv = sum(w * x * (v - mean) for w, x, v in zip(weights, dx, values, strict=True))
        yv = sum(w * y * (v - mean) for w, y, v in zip(weights, dy, values, strict=True))
        determinant = xx * yy - xy * xy
        spread = total * square
        if determinant <= (_FLATTEST * spread) ** 2 or min(xx, yy) <= _FLATTEST * spread:
            return None
        slope_x = (xv * yy - yv * xy) / determinant
        slope_y = (yv * xx - xv * xy) / determinant
        return centre[0] + slope_x * square / 4.0, centre[1] + slope_y * square / 4.0


def quadrant(watts: tuple[float, float, float, float], slope_radians: float, floor_watts: float) -> Beam:
    """Four photodiodes, one look: light in the quadrants (+x +y), (-x +y), (-x -y), (+x -y).

    ``slope_radians`` is the offset at which all light would be on one side if it grew as it does in the middle. The
    result is from the line of sight.
    """
    total = sum(watts)
    if total <= floor_watts:
        return Beam(lit=False, x=0.0, y=0.0, watts=total)
    a, b, c, d = watts
    return Beam(True, slope_radians * (a + d - b - c) / total, slope_radians * (a + b - c - d) / total, total)
