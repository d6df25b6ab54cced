"""How much of the Sun a satellite sees behind the Earth: the conical model of two discs in its sky.

Source: Montenbruck and Gill, Satellite Orbits, section 3.4.2. The Earth's flattening is taken in by stretching space
along the axis until the Earth is a sphere: straight lines stay straight. The Sun's disc is not corrected for it.
"""

from __future__ import annotations

import math

from skyrack.orbits.constants import EARTH_FLATTENING, EARTH_RADIUS_METERS, SUN_RADIUS_METERS
from skyrack.orbits.vectors import Vector


def sunlit_ratio(
    position: Vector,
    sun: Vector,
    earth_radius_meters: float = EARTH_RADIUS_METERS,
    sun_radius_meters: float = SUN_RADIUS_METERS,
    flattening: float = EARTH_FLATTENING,
) -> float:
    """Visible part of the Sun's disc: 0 in umbra, 1 in full light."""
    a, b, c = _discs(position, sun, earth_radius_meters, sun_radius_meters, flattening)
    if c >= a + b:
        return 1.0
    if c <= b - a:
        return 0.0
    if c <= a - b:  # the Earth before the Sun, as from far outside
        return 1.0 - (b * b) / (a * a)
    x = (c * c + a * a - b * b) / (2.0 * c)
    y = math.sqrt(max(0.0, a * a - x * x))
    hidden = a * a * math.acos(max(-1.0, min(1.0, x / a))) + b * b * math.acos(max(-1.0, min(1.0, (c - x) / b))) - c * y
    return 1.0 - hidden / (math.pi * a * a)


def eclipse_margin_radians(
    position: Vector,
    sun: Vector,
    earth_radius_meters: float = EARTH_RADIUS_METERS,
    sun_radius_meters: float = SUN_RADIUS_METERS,
    flattening: float = EARTH_FLATTENING,
) -> float:
    """How far the discs overlap: positive from penumbra entry to penumbra exit, negative in full light."""
    a, b, c = _discs(position, sun, earth_radius_meters, sun_radius_meters, flattening)
    return a + b - c


def _discs(
    position: Vector, sun: Vector, earth_radius: float, sun_radius: float, flattening: float
) -> tuple[float, float, float]:
    """Apparent radii of Sun and Earth and the distance of their centres, radians."""
    stretch = 1.0 / (1.0 - flattening)
    x, y, z = position[0], position[1], position[2] * stretch
    u, v, w = sun[0] - x, sun[1] - y, sun[2] * stretch - z
    radius = math.sqrt(x * x + y * y + z * z)
    far = math.sqrt(u * u + v * v + w * w)
    cosine = -(x * u + y * v + z * w) / (radius * far)
    return (
        math.asin(min(1.0, sun_radius / far)),
        math.asin(min(1.0, earth_radius / radius)),
        math.acos(max(-1.0, min(1.0, cosine))),
    )
