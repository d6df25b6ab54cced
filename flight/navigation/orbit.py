"""The satellite's state at one moment, from its elements."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sgp4.api import Satrec

from skyrack.orbits import (
    Geodetic,
    Vector,
    beta_angle_radians,
    geodetic,
    norm,
    propagate,
    sidereal_angle_radians,
    sun_position,
    sunlit_ratio,
)


@dataclass(frozen=True, slots=True)
class OrbitEstimate:
    """Position (m), velocity (m/s) and the Sun in TEME of date; place over the ground; light."""

    mission_time_seconds: float
    position_meters: Vector
    velocity_meters_per_second: Vector
    sun_direction: Vector
    sun_distance_meters: float
    sunlit_ratio: float
    place: Geodetic
    beta_angle_degrees: float


def estimate(satrec: Satrec, mission_time_seconds: float) -> OrbitEstimate:
    """Where the satellite is.

    Raises:
        OrbitError: SGP4 has no position for this time.
    """
    position, velocity = propagate(satrec, mission_time_seconds)
    sun = sun_position(mission_time_seconds)
    far = norm(sun)
    return OrbitEstimate(
        mission_time_seconds=mission_time_seconds,
        position_meters=position,
        velocity_meters_per_second=velocity,
        sun_direction=(sun[0] / far, sun[1] / far, sun[2] / far),
        sun_distance_meters=far,
        sunlit_ratio=sunlit_ratio(position, sun),
        place=geodetic(position, sidereal_angle_radians(mission_time_seconds)),
        beta_angle_degrees=math.degrees(beta_angle_radians(position, velocity, sun)),
    )
