"""Laser links between satellites: directions, lines of sight, light and bits.

    P_r = P_t eta_t eta_r G_t G_r (lambda / 4 pi d)^2 exp(-2 theta^2 / w^2)

with G_t = 8 / w^2 for a Gaussian beam whose intensity falls to 1/e^2 at the half angle w, and G_r = (pi D / lambda)^2.
Sources: Saleh and Teich, Fundamentals of Photonics, section 3.1; Hemmati, Near-Earth Laser Communications, ch. 2.
Angles are those of the orbital frame (x along the horizontal velocity, z to the Earth's centre): azimuth from x towards
y, elevation away from the Earth.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hil.plant.constants import EARTH_RADIUS_METERS, PLANCK, SPEED_OF_LIGHT
from hil.plant.frames import Array

ATMOSPHERE_METERS = 80_000.0


class Sight(NamedTuple):
    """A partner as a satellite sees it; all arrays have the shape of the positions less their last axis."""

    azimuth: Array
    elevation: Array
    distance: Array
    clear: NDArray[np.bool_]
    ahead_azimuth: Array  # point-ahead angles: azimuth * cos(elevation), elevation
    ahead_elevation: Array


def sight(position: Array, velocity: Array, partner: Array, partner_velocity: Array) -> Sight:
    """Where a partner stands in a satellite's orbital frame, and how far ahead of it light must be aimed."""
    x, y, z = orbital_axes(position, velocity)
    towards = partner - position
    distance = np.sqrt(_dot(towards, towards))
    east, north, up = _dot(towards, x), _dot(towards, y), -_dot(towards, z)
    flat = np.hypot(east, north)
    azimuth, elevation = np.arctan2(north, east), np.arctan2(up, flat)
    # Light takes d/c there, and the partner's light took d/c to here.
    relative = partner_velocity - velocity
    vx, vy, vz = _dot(relative, x), _dot(relative, y), -_dot(relative, z)
    lead = 2.0 / SPEED_OF_LIGHT
    cos_azimuth, sin_azimuth = np.cos(azimuth), np.sin(azimuth)
    ahead_azimuth = lead * (vy * cos_azimuth - vx * sin_azimuth)
    outward = vx * cos_azimuth + vy * sin_azimuth
    ahead_elevation = lead * (vz * np.cos(elevation) - outward * np.sin(elevation))
    return Sight(azimuth, elevation, distance, line_of_sight(position, partner), ahead_azimuth, ahead_elevation)


def orbital_axes(position: Array, velocity: Array) -> tuple[Array, Array, Array]:
    """Unit vectors of the orbital frame."""
    z = -position / np.sqrt(_dot(position, position))[..., np.newaxis]
    y = np.cross(z, velocity)
    y /= np.sqrt(_dot(y, y))[..., np.newaxis]
    return np.cross(y, z), y, z


def line_of_sight(a: Array, b: Array, clearance_meters: float = ATMOSPHERE_METERS) -> NDArray[np.bool_]:
    """Whether the segment between two positions stays above the atmosphere."""
    along = b - a
    share = np.clip(-_dot(a, along) / _dot(along, along), 0.0, 1.0)
    closest = a + share[..., np.newaxis] * along
    clear: NDArray[np.bool_] = _dot(closest, closest) > (EARTH_RADIUS_METERS + clearance_meters) ** 2
    return clear


def beam_half_angle(divergence_radians: Array, aperture_meters: Array, wavelength_meters: Array) -> Array:
    """Half angle at 1/e^2 of a beam of full divergence, no narrower than its aperture's diffraction allows."""
    return np.maximum(0.5 * divergence_radians, 2.0 * wavelength_meters / (np.pi * aperture_meters))


def path_gain(half_angle: Array, receive_aperture_meters: Array, wavelength_meters: Array) -> Array:
    """Received over transmitted power, times distance squared, on the beam's axis and without losses; m2."""
    transmit_gain: Array = 8.0 / half_angle**2
    receive_gain: Array = (np.pi * receive_aperture_meters / wavelength_meters) ** 2
    return transmit_gain * receive_gain * (wavelength_meters / (4.0 * np.pi)) ** 2


def pointing_loss(error_radians: Array, half_angle: Array) -> Array:
    """What is left of a Gaussian beam off its axis."""
    left: Array = np.exp(-2.0 * (error_radians / half_angle) ** 2)
    return left


def rate_bits_per_second(power_watts: Array, photons_per_bit: Array, wavelength_meters: Array) -> Array:
    """Bits that received light carries at a detector's sensitivity in photons per bit."""
    rate: Array = power_watts * wavelength_meters / (PLANCK * SPEED_OF_LIGHT * photons_per_bit)
    return rate


def _dot(a: Array, b: Array) -> Array:
    product: Array = np.einsum("...i,...i->...", a, b)
    return product
