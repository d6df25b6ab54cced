"""Where satellites, the Sun and the stations are: what flight and ground predict with.

Everything here is plain Python on floats and 3-tuples, SI units, angles in radians unless the name says otherwise,
mission time in seconds since the Unix epoch (UTC). The inertial frame is TEME of date, SGP4's own. UT1 is taken as
UTC and polar motion as none, which moves a ground station by at most 420 m.
"""

from skyrack.orbits.eclipse import eclipse_margin_radians, sunlit_ratio
from skyrack.orbits.elements import (
    OrbitError,
    OrbitPosition,
    orbital_period_seconds,
    propagate,
    relay_satrecs,
    satellite_satrec,
)
from skyrack.orbits.events import IntervalFinder, intervals
from skyrack.orbits.frames import (
    Geodetic,
    azimuth_elevation,
    direction_from_angles,
    geodetic,
    geodetic_to_itrf,
    itrf_to_teme,
    orbital_frame,
    sidereal_angle_radians,
    teme_to_itrf,
)
from skyrack.orbits.sun import beta_angle_radians, sun_position
from skyrack.orbits.vectors import Vector, cross, distance, dot, norm, subtract, unit
from skyrack.orbits.visibility import StationView, line_of_sight

__all__ = [
    "Geodetic",
    "IntervalFinder",
    "OrbitError",
    "OrbitPosition",
    "StationView",
    "Vector",
    "azimuth_elevation",
    "beta_angle_radians",
    "cross",
    "direction_from_angles",
    "distance",
    "dot",
    "eclipse_margin_radians",
    "geodetic",
    "geodetic_to_itrf",
    "intervals",
    "itrf_to_teme",
    "line_of_sight",
    "norm",
    "orbital_frame",
    "orbital_period_seconds",
    "propagate",
    "relay_satrecs",
    "satellite_satrec",
    "sidereal_angle_radians",
    "subtract",
    "sun_position",
    "sunlit_ratio",
    "teme_to_itrf",
    "unit",
]
