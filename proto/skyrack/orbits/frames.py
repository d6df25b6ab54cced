"""Reference frames: TEME of date, Earth-fixed (ITRF), geodetic, and the satellite's orbital frame.

Sources: Vallado et al., AIAA 2006-6753, appendix C (sidereal angle of TEME); Bowring, Survey Review 28 (1985),
202-206 (geodetic coordinates).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from skyrack.orbits.constants import (
    EARTH_FLATTENING,
    EARTH_RADIUS_METERS,
    J2000_MISSION_SECONDS,
    SECONDS_PER_CENTURY,
    SECONDS_PER_DAY,
)
from skyrack.orbits.vectors import Vector, cross, dot, unit

_TURN = 2.0 * math.pi
_ECCENTRICITY_SQUARED = EARTH_FLATTENING * (2.0 - EARTH_FLATTENING)
_POLAR_RADIUS_METERS = EARTH_RADIUS_METERS * (1.0 - EARTH_FLATTENING)
_SECOND_ECCENTRICITY_SQUARED = _ECCENTRICITY_SQUARED / (1.0 - _ECCENTRICITY_SQUARED)


class Geodetic(NamedTuple):
    """Place over the WGS 84 ellipsoid; longitude east positive, -180 to 180."""

    latitude_degrees: float
    longitude_degrees: float
    altitude_meters: float


def sidereal_angle_radians(mission_time_seconds: float, ut1_minus_utc_seconds: float = 0.0) -> float:
    """Greenwich mean sidereal angle of 1982, which turns TEME into the Earth-fixed frame."""
    seconds = mission_time_seconds + ut1_minus_utc_seconds - J2000_MISSION_SECONDS
    t = seconds / SECONDS_PER_CENTURY
    drift = 67_310.54841 + t * (8_640_184.812866 + t * (0.093104 - 6.2e-6 * t))
    return (drift + seconds % SECONDS_PER_DAY) / SECONDS_PER_DAY % 1.0 * _TURN


def teme_to_itrf(position: Vector, sidereal_angle: float) -> Vector:
    """Turn a TEME vector into the Earth-fixed frame (without polar motion)."""
    c, s = math.cos(sidereal_angle), math.sin(sidereal_angle)
    x, y, z = position
    return (c * x + s * y, c * y - s * x, z)


def itrf_to_teme(position: Vector, sidereal_angle: float) -> Vector:
    """Turn an Earth-fixed vector into TEME (without polar motion)."""
    return teme_to_itrf(position, -sidereal_angle)


def geodetic(position: Vector, sidereal_angle: float) -> Geodetic:
    """Geodetic coordinates of a TEME position, good to a millimetre up to 2000 km."""
    x, y, z = teme_to_itrf(position, sidereal_angle)
    across = math.hypot(x, y)
    parametric = math.atan2(z * EARTH_RADIUS_METERS, across * _POLAR_RADIUS_METERS)
    for _ in range(2):
        latitude = math.atan2(
            z + _SECOND_ECCENTRICITY_SQUARED * _POLAR_RADIUS_METERS * math.sin(parametric) ** 3,
            across - _ECCENTRICITY_SQUARED * EARTH_RADIUS_METERS * math.cos(parametric) ** 3,
        )
        parametric = math.atan2((1.0 - EARTH_FLATTENING) * math.sin(latitude), math.cos(latitude))
    sine = math.sin(latitude)
    altitude = (
        across * math.cos(latitude)
        + z * sine
        - EARTH_RADIUS_METERS * math.sqrt(1.0 - _ECCENTRICITY_SQUARED * sine * sine)
    )
    return Geodetic(math.degrees(latitude), math.degrees(math.atan2(y, x)), altitude)


def geodetic_to_itrf(place: Geodetic) -> Vector:
    """Earth-fixed position of a place."""
    latitude, longitude = math.radians(place.latitude_degrees), math.radians(place.longitude_degrees)
    sine, cosine = math.sin(latitude), math.cos(latitude)
    curvature = EARTH_RADIUS_METERS / math.sqrt(1.0 - _ECCENTRICITY_SQUARED * sine * sine)
    across = (curvature + place.altitude_meters) * cosine
    return (
        across * math.cos(longitude),
        across * math.sin(longitude),
        (curvature * (1.0 - _ECCENTRICITY_SQUARED) + place.altitude_meters) * sine,
    )


def orbital_frame(position: Vector, velocity: Vector) -> tuple[Vector, Vector, Vector]:
    """Axes of the orbital frame in TEME: x along the horizontal velocity, z to the Earth's centre, y completes it."""
    r = unit(position)
    z = (-r[0], -r[1], -r[2])
    y = unit(cross(z, velocity))
    return cross(y, z), y, z


def azimuth_elevation(direction: Vector, frame: tuple[Vector, Vector, Vector]) -> tuple[float, float]:
    """Angles of a TEME direction in an orbital frame, radians.

    Azimuth turns from x (velocity) towards y, -pi to pi; elevation rises from the local horizontal away from the
    Earth (towards -z).
    """
    x, y, z = dot(direction, frame[0]), dot(direction, frame[1]), dot(direction, frame[2])
    return math.atan2(y, x), math.atan2(-z, math.hypot(x, y))


def direction_from_angles(azimuth: float, elevation: float, frame: tuple[Vector, Vector, Vector]) -> Vector:
    """TEME unit vector of angles in an orbital frame: the inverse of :func:`azimuth_elevation`."""
    along = math.cos(elevation) * math.cos(azimuth)
    across = math.cos(elevation) * math.sin(azimuth)
    down = -math.sin(elevation)
    x, y, z = frame
    return (
        along * x[0] + across * y[0] + down * z[0],
        along * x[1] + across * y[1] + down * z[1],
        along * x[2] + across * y[2] + down * z[2],
    )
