"""Where to point: angles, rates and point-ahead from two orbits."""

from __future__ import annotations

import math
from dataclasses import dataclass

from flight.laser.link_budget import SPEED_OF_LIGHT_METERS_PER_SECOND
from skyrack.orbits import OrbitPosition, Vector, azimuth_elevation, dot, norm, orbital_frame, subtract
from skyrack.orbits.constants import SGP4_GRAVITY_METERS3_PER_SECOND2


def wrap(angle_radians: float) -> float:
    """The same angle between -pi and pi."""
    return math.remainder(angle_radians, 2.0 * math.pi)


def coast(state: OrbitPosition, seconds: float) -> OrbitPosition:
    """Where an orbit goes on in a few seconds, by its gravity alone; good to 10 cm over 5 s."""
    position, velocity = state
    pull = -SGP4_GRAVITY_METERS3_PER_SECOND2 / norm(position) ** 3
    half = 0.5 * pull * seconds * seconds
    moved = [p + v * seconds + half * p for p, v in zip(position, velocity, strict=True)]
    faster = [v + pull * p * seconds for p, v in zip(position, velocity, strict=True)]
    return OrbitPosition((moved[0], moved[1], moved[2]), (faster[0], faster[1], faster[2]))


@dataclass(frozen=True, slots=True)
class Aim:
    """A partner as the terminal sees it: orbital frame, as ``flight.hal.LaserReading`` defines its angles."""

    azimuth_radians: float
    elevation_radians: float
    range_meters: float
    point_ahead_radians: tuple[float, float]
    """(azimuth * cos(elevation), elevation) by which the beam must lead what is seen."""


def aim(own: OrbitPosition, partner: OrbitPosition) -> Aim:
    """Where the partner is seen, and how far ahead of that to shoot: v_perpendicular * 2 / c."""
    frame = orbital_frame(*own)
    towards = subtract(partner.position_meters, own.position_meters)
    azimuth, elevation = azimuth_elevation(towards, frame)
    relative = subtract(partner.velocity_meters_per_second, own.velocity_meters_per_second)
    along_azimuth, along_elevation = _transverse(frame, azimuth, elevation)
    lead = 2.0 / SPEED_OF_LIGHT_METERS_PER_SECOND
    ahead = (lead * dot(relative, along_azimuth), lead * dot(relative, along_elevation))
    return Aim(azimuth, elevation, norm(towards), ahead)


def _transverse(frame: tuple[Vector, Vector, Vector], azimuth: float, elevation: float) -> tuple[Vector, Vector]:
    """Unit vectors in which azimuth and elevation grow."""
    x, y, z = frame
    ca, sa, ce, se = math.cos(azimuth), math.sin(azimuth), math.cos(elevation), math.sin(elevation)
    east = tuple(-sa * x[i] + ca * y[i] for i in range(3))
    up = tuple(-se * (ca * x[i] + sa * y[i]) - ce * z[i] for i in range(3))
    return (east[0], east[1], east[2]), (up[0], up[1], up[2])


@dataclass(frozen=True, slots=True)
class Track:
    """A line through a partner's angles around ``at_seconds``."""

    at_seconds: float
    azimuth_radians: float
    elevation_radians: float
    azimuth_rate: float
    elevation_rate: float


def track(at_seconds: float, early: Aim, late: Aim, early_seconds: float, late_seconds: float) -> Track:
    """The line through the aims at two times, given where it stands at ``at_seconds``."""
    span = late_seconds - early_seconds
    azimuth_rate = wrap(late.azimuth_radians - early.azimuth_radians) / span
    elevation_rate = (late.elevation_radians - early.elevation_radians) / span
    back = at_seconds - early_seconds
    return Track(
        at_seconds,
        wrap(early.azimuth_radians + azimuth_rate * back),
        early.elevation_radians + elevation_rate * back,
        azimuth_rate,
        elevation_rate,
    )
