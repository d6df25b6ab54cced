"""Where to point: angles, rates and point-ahead from two orbits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from flight.laser.link_budget import SPEED_OF_LIGHT_METERS_PER_SECOND
from skyrack.orbits import OrbitPosition, azimuth_elevation, dot, norm, orbital_frame, subtract
from skyrack.orbits.constants import SGP4_GRAVITY_METERS3_PER_SECOND2


def wrap(angle_radians: float) -> float:
    """The same angle between -pi and pi."""
    return math.remainder(angle_radians, 2.0 * math.pi)


def coast(state: OrbitPosition, seconds: float) -> OrbitPosition:
    """Where an orbit goes on in a few seconds, by its gravity alone; good to 10 cm over 5 s."""
    (x, y, z), (u, v, w) = state
    pull = -SGP4_GRAVITY_METERS3_PER_SECOND2 / norm(state.position_meters) ** 3 * seconds
    stay = 1.0 + 0.5 * pull * seconds
    return OrbitPosition(
        (stay * x + u * seconds, stay * y + v * seconds, stay * z + w * seconds),
        (u + pull * x, v + pull * y, w + pull * z),
    )


class Aim(NamedTuple):
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
    x, y, z = dot(relative, frame[0]), dot(relative, frame[1]), dot(relative, frame[2])
    cosine, sine = math.cos(azimuth), math.sin(azimuth)
    # How fast the partner moves across the line of sight, where azimuth and where elevation grow.
    sideways = y * cosine - x * sine
    upwards = -math.sin(elevation) * (x * cosine + y * sine) - math.cos(elevation) * z
    lead = 2.0 / SPEED_OF_LIGHT_METERS_PER_SECOND
    return Aim(azimuth, elevation, norm(towards), (lead * sideways, lead * upwards))


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
