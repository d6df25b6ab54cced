"""Where the Sun is, by the low-precision formulae of the Astronomical Almanac (page C5), good to 0.01 degrees.

The formulae give the mean equator and equinox of date; the 0.005 degrees between that and TEME are left out.
"""

from __future__ import annotations

import math

from skyrack.orbits.constants import (
    ASTRONOMICAL_UNIT_METERS,
    J2000_MISSION_SECONDS,
    SECONDS_PER_CENTURY,
    TERRESTRIAL_TIME_MINUS_UTC_SECONDS,
)
from skyrack.orbits.vectors import Vector, cross, dot, norm


def sun_position(mission_time_seconds: float) -> Vector:
    """The Sun from the Earth's centre, m."""
    t = (mission_time_seconds + TERRESTRIAL_TIME_MINUS_UTC_SECONDS - J2000_MISSION_SECONDS) / SECONDS_PER_CENTURY
    anomaly = math.radians(357.52772333 + 35_999.05034 * t)
    longitude = math.radians(
        280.4606184 + 36_000.77005361 * t + 1.914666471 * math.sin(anomaly) + 0.019994643 * math.sin(2.0 * anomaly)
    )
    obliquity = math.radians(23.439291 - 0.0130042 * t)
    distance = ASTRONOMICAL_UNIT_METERS * (
        1.000140612 - 0.016708617 * math.cos(anomaly) - 0.000139589 * math.cos(2.0 * anomaly)
    )
    sine = math.sin(longitude)
    return (
        distance * math.cos(longitude),
        distance * sine * math.cos(obliquity),
        distance * sine * math.sin(obliquity),
    )


def beta_angle_radians(position: Vector, velocity: Vector, sun: Vector) -> float:
    """Angle of the Sun over the orbit plane, positive on the side of the orbit's normal."""
    normal = cross(position, velocity)
    sine = dot(normal, sun) / (norm(normal) * norm(sun))
    return math.asin(max(-1.0, min(1.0, sine)))
