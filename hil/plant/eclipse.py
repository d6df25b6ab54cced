"""How much of the Sun a satellite sees behind the Earth.

The conical model: the Earth and the Sun are two discs in the satellite's sky. Source: Montenbruck and Gill,
Satellite Orbits, section 3.4.2. The Earth's flattening is taken in by stretching the world along the Earth's axis
until the Earth is a sphere again, which leaves lines of sight straight; the Sun's disc, stretched by 0.3 %, is not
corrected.
"""

import numpy as np

from hil.plant.constants import EARTH_FLATTENING, EARTH_RADIUS_METERS, SUN_RADIUS_METERS
from hil.plant.frames import Array


def sunlit_fraction(
    satellite: Array,
    sun: Array,
    earth_radius_meters: float = EARTH_RADIUS_METERS,
    sun_radius_meters: float = SUN_RADIUS_METERS,
    flattening: float = EARTH_FLATTENING,
) -> Array:
    """Visible share of the Sun's disc, 0 (umbra) to 1; positions in metres from the Earth's centre, z to the pole."""
    if flattening:
        stretch = np.array([1.0, 1.0, 1.0 / (1.0 - flattening)])
        satellite, sun = satellite * stretch, sun * stretch
    to_sun = sun - satellite
    radius = np.sqrt(np.einsum("...i,...i->...", satellite, satellite))
    distance = np.sqrt(np.einsum("...i,...i->...", to_sun, to_sun))
    cos_separation = -np.einsum("...i,...i->...", satellite, to_sun) / (radius * distance)
    sun_disc = np.arcsin(sun_radius_meters / distance)
    earth_disc = np.arcsin(np.minimum(1.0, earth_radius_meters / radius))
    separation = np.arccos(np.clip(cos_separation, -1.0, 1.0))
    fraction = np.where(separation >= sun_disc + earth_disc, 1.0, 0.0)
    partial = np.abs(separation - earth_disc) < sun_disc
    if partial.any():
        a, b, c = (np.broadcast_to(x, fraction.shape)[partial] for x in (sun_disc, earth_disc, separation))
        fraction[partial] = 1.0 - disc_overlap(a, b, c) / (np.pi * a * a)
    return fraction


def disc_overlap(a: Array, b: Array, c: Array) -> Array:
    """Area common to two discs of radii a and b whose centres are c apart, |a - b| < c < a + b."""
    x = (c * c + a * a - b * b) / (2.0 * c)
    y = np.sqrt(np.maximum(0.0, a * a - x * x))
    area: Array = (
        a * a * np.arccos(np.clip(x / a, -1.0, 1.0)) + b * b * np.arccos(np.clip((c - x) / b, -1.0, 1.0)) - c * y
    )
    return area
