"""Where the Sun is: the analytic Sun of Meeus, good to 15 arcseconds (5 rms) between 1970 and 2030.

Sources: Meeus, Astronomical Algorithms, 2nd ed., ch. 25 (the ellipse); Meeus, Astronomical Formulae for
Calculators, 4th ed., ch. 18 (the pull of Venus, Jupiter and the Moon). This is the geometric Sun: aberration
(20 arcseconds) is left out. Positions are metres from the Earth's centre.
"""

import numpy as np
from numpy.typing import ArrayLike

from hil.plant.constants import ASTRONOMICAL_UNIT_METERS
from hil.plant.frames import Array, centuries_tt, mean_obliquity, mean_of_date_to_j2000, mean_of_date_to_teme


def sun_mean_of_date(t: Array) -> Array:
    """Sun in the mean equator and equinox of date, t in Julian centuries of TT since J2000."""
    mean_longitude = 280.46646 + t * (36_000.76983 + 0.0003032 * t)
    anomaly = np.radians(357.52911 + t * (35_999.05029 - 0.0001537 * t))
    eccentricity = 0.016708634 - t * (0.000042037 + 0.0000001267 * t)
    centre = (
        (1.914602 - t * (0.004817 + 0.000014 * t)) * np.sin(anomaly)
        + (0.019993 - 0.000101 * t) * np.sin(2.0 * anomaly)
        + 0.000289 * np.sin(3.0 * anomaly)
    )
    longitude = np.radians(mean_longitude + centre + _perturbations(t))
    true_anomaly = anomaly + np.radians(centre)
    distance = 1.000001018 * (1.0 - eccentricity**2) / (1.0 + eccentricity * np.cos(true_anomaly))
    obliquity = mean_obliquity(t)
    direction = np.stack(
        [np.cos(longitude), np.sin(longitude) * np.cos(obliquity), np.sin(longitude) * np.sin(obliquity)], axis=-1
    )
    sun: Array = direction * (distance * ASTRONOMICAL_UNIT_METERS)[..., np.newaxis]
    return sun


def _perturbations(t: Array) -> Array:
    """What Venus (two terms), Jupiter, the Moon and the long period add to the longitude, in degrees."""
    since_1900 = t + 1.0
    terms: Array = (
        0.00134 * np.cos(np.radians(153.23 + 22_518.7541 * since_1900))
        + 0.00154 * np.cos(np.radians(216.57 + 45_037.5082 * since_1900))
        + 0.00200 * np.cos(np.radians(312.69 + 32_964.3577 * since_1900))
        + 0.00179 * np.sin(np.radians(350.74 + 445_267.1142 * since_1900))
        + 0.00178 * np.sin(np.radians(231.19 + 20.20 * since_1900))
    )
    return terms


def sun_teme(mission_time_seconds: ArrayLike) -> Array:
    """Sun in TEME, the frame of SGP4."""
    t = centuries_tt(mission_time_seconds)
    return mean_of_date_to_teme(sun_mean_of_date(t), t)


def sun_j2000(t: Array) -> Array:
    """Sun in the mean equator and equinox of J2000, t in Julian centuries of TT since J2000."""
    return mean_of_date_to_j2000(sun_mean_of_date(t), t)
