"""Time scales and reference frames: UTC to UT1 and TT, TEME to ITRF, precession and nutation.

Mission time is seconds since the Unix epoch, UTC. SGP4 gives positions in TEME (true equator, mean equinox);
ground stations stand still in ITRF. Positions are metres, the last axis holds (x, y, z).

Sources: Vallado, Crawford, Hujsak, Kelso, "Revisiting Spacetrack Report #3", AIAA 2006-6753, appendix C (TEME);
Meeus, Astronomical Algorithms, 2nd ed., ch. 21 (precession IAU 1976) and ch. 22 (nutation, four largest terms).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hil.plant.constants import EARTH_FLATTENING, EARTH_RADIUS_METERS

Array = NDArray[np.float64]

UNIX_EPOCH_JULIAN_DAY = 2440587.5
J2000_UNIX_SECONDS = 946_728_000.0  # 2000-01-01 12:00, as if its own scale were UTC
TT_MINUS_UTC_SECONDS = 69.184  # 37 leap seconds (since 2017) + 32.184 s
SECONDS_PER_DAY = 86_400.0
DAYS_PER_CENTURY = 36_525.0
ARCSECOND = np.pi / (180.0 * 3600.0)


def julian_day(mission_time_seconds: ArrayLike) -> tuple[Array, Array]:
    """UTC as (Julian day at midnight, fraction of the day): split, so that nothing is lost to rounding."""
    days = np.asarray(mission_time_seconds, dtype=np.float64) / SECONDS_PER_DAY
    whole = np.floor(days)
    return whole + UNIX_EPOCH_JULIAN_DAY, days - whole


def centuries_tt(mission_time_seconds: ArrayLike) -> Array:
    """Julian centuries of terrestrial time since J2000."""
    seconds = np.asarray(mission_time_seconds, dtype=np.float64) + (TT_MINUS_UTC_SECONDS - J2000_UNIX_SECONDS)
    return seconds / (SECONDS_PER_DAY * DAYS_PER_CENTURY)


def greenwich_mean_sidereal_angle(mission_time_seconds: ArrayLike, ut1_minus_utc_seconds: float = 0.0) -> Array:
    """GMST of 1982 in radians, the Earth's rotation angle that belongs to TEME."""
    seconds = np.asarray(mission_time_seconds, dtype=np.float64) + (ut1_minus_utc_seconds - J2000_UNIX_SECONDS)
    days = seconds / SECONDS_PER_DAY
    t = days / DAYS_PER_CENTURY
    drift = 67_310.54841 + t * (8_640_184.812866 + t * (0.093104 - 6.2e-6 * t))
    turns = drift / SECONDS_PER_DAY + np.mod(days, 1.0)
    return np.mod(turns, 1.0) * (2.0 * np.pi)


def teme_to_itrf(
    position: Array,
    mission_time_seconds: ArrayLike,
    ut1_minus_utc_seconds: float = 0.0,
    polar_motion_arcseconds: tuple[float, float] = (0.0, 0.0),
) -> Array:
    """TEME to ITRF. Leaving UT1-UTC and polar motion at zero costs up to 420 m and 15 m on the Earth's surface."""
    angle = greenwich_mean_sidereal_angle(mission_time_seconds, ut1_minus_utc_seconds)
    x, y, z = np.moveaxis(position, -1, 0)
    cos, sin = np.cos(angle), np.sin(angle)
    pseudo_fixed = np.stack(np.broadcast_arrays(cos * x + sin * y, cos * y - sin * x, z), axis=-1)
    return pseudo_fixed @ _polar_motion(*polar_motion_arcseconds).T


def itrf_to_teme(position: Array, mission_time_seconds: ArrayLike, ut1_minus_utc_seconds: float = 0.0) -> Array:
    """ITRF to TEME, without polar motion."""
    angle = greenwich_mean_sidereal_angle(mission_time_seconds, ut1_minus_utc_seconds)
    x, y, z = np.moveaxis(position, -1, 0)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack(np.broadcast_arrays(cos * x - sin * y, cos * y + sin * x, z), axis=-1)


def geodetic_to_itrf(latitude_radians: ArrayLike, longitude_radians: ArrayLike, altitude_meters: ArrayLike) -> Array:
    """A place on the WGS 84 ellipsoid."""
    latitude, longitude = np.asarray(latitude_radians), np.asarray(longitude_radians)
    squared_eccentricity = EARTH_FLATTENING * (2.0 - EARTH_FLATTENING)
    curvature = EARTH_RADIUS_METERS / np.sqrt(1.0 - squared_eccentricity * np.sin(latitude) ** 2)
    across = (curvature + altitude_meters) * np.cos(latitude)
    along = (curvature * (1.0 - squared_eccentricity) + altitude_meters) * np.sin(latitude)
    return np.stack(np.broadcast_arrays(across * np.cos(longitude), across * np.sin(longitude), along), axis=-1)


def geodetic_up(latitude_radians: ArrayLike, longitude_radians: ArrayLike) -> Array:
    """The local vertical of a place, in ITRF."""
    latitude, longitude = np.asarray(latitude_radians), np.asarray(longitude_radians)
    return np.stack(
        [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], axis=-1
    )


def mean_obliquity(t: Array) -> Array:
    """Mean obliquity of the ecliptic in radians, t in centuries of TT (IAU 1980)."""
    return (84_381.448 - t * (46.8150 + t * (0.00059 - 0.001813 * t))) * ARCSECOND


def nutation(t: Array) -> tuple[Array, Array]:
    """Nutation in longitude and in obliquity, radians; good to 0.5 arcsec (Meeus ch. 22)."""
    node = np.radians(125.04452 - 1934.136261 * t)
    sun = 2.0 * np.radians(280.4665 + 36_000.7698 * t)
    moon = 2.0 * np.radians(218.3165 + 481_267.8813 * t)
    longitude = -17.20 * np.sin(node) - 1.32 * np.sin(sun) - 0.23 * np.sin(moon) + 0.21 * np.sin(2.0 * node)
    obliquity = 9.20 * np.cos(node) + 0.57 * np.cos(sun) + 0.10 * np.cos(moon) - 0.09 * np.cos(2.0 * node)
    return longitude * ARCSECOND, obliquity * ARCSECOND


def mean_of_date_to_teme(position: Array, t: Array) -> Array:
    """Mean equator and equinox of date to TEME: nutation without its turn about the pole (first order)."""
    in_longitude, in_obliquity = nutation(t)
    tilt = in_longitude * np.sin(mean_obliquity(t))
    x, y, z = np.moveaxis(position, -1, 0)
    return np.stack([x - tilt * z, y - in_obliquity * z, z + tilt * x + in_obliquity * y], axis=-1)


def mean_of_date_to_j2000(position: Array, t: Array) -> Array:
    """Mean equator and equinox of date to those of J2000 (precession IAU 1976)."""
    zeta = t * (2306.2181 + t * (0.30188 + 0.017998 * t)) * ARCSECOND
    z_angle = t * (2306.2181 + t * (1.09468 + 0.018203 * t)) * ARCSECOND
    theta = t * (2004.3109 - t * (0.42665 + 0.041833 * t)) * ARCSECOND
    x, y, z = np.moveaxis(position, -1, 0)
    x, y = np.cos(z_angle) * x + np.sin(z_angle) * y, np.cos(z_angle) * y - np.sin(z_angle) * x
    x, z = np.cos(theta) * x + np.sin(theta) * z, np.cos(theta) * z - np.sin(theta) * x
    x, y = np.cos(zeta) * x + np.sin(zeta) * y, np.cos(zeta) * y - np.sin(zeta) * x
    return np.stack([x, y, z], axis=-1)


def _polar_motion(x_arcseconds: float, y_arcseconds: float) -> Array:
    """The rotation from the pseudo-Earth-fixed frame to ITRF."""
    x, y = x_arcseconds * ARCSECOND, y_arcseconds * ARCSECOND
    about_y = np.array([[np.cos(x), 0.0, np.sin(x)], [0.0, 1.0, 0.0], [-np.sin(x), 0.0, np.cos(x)]])
    about_x = np.array([[1.0, 0.0, 0.0], [0.0, np.cos(y), -np.sin(y)], [0.0, np.sin(y), np.cos(y)]])
    rotation: Array = about_y @ about_x
    return rotation
