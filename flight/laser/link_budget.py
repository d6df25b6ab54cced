"""What light arrives, and how many bits it carries.

    P_r = P_t eta_t eta_r G_t G_r (lambda / 4 pi d)^2 L(theta)

as in Hemmati (ed.), Near-Earth Laser Communications, ch. 2. The transmit gain is that of a Gaussian beam, 32 / theta^2
for a full divergence theta at 1/e^2, and no more than (pi D / lambda)^2, its aperture's.
"""

from __future__ import annotations

import math
from typing import Final

from skyrack.satellite import Laser

PLANCK_JOULE_SECONDS: Final = 6.62607015e-34
SPEED_OF_LIGHT_METERS_PER_SECOND: Final = 299_792_458.0


def transmit_gain(laser: Laser) -> float:
    """Gain of the beam on its axis, over an isotropic source."""
    divergence = 32.0 / laser.beam_divergence_radians**2
    aperture = (math.pi * laser.transmit_aperture_meters / laser.wavelength_meters) ** 2
    return min(divergence, aperture)


def received_power_watts(laser: Laser, range_meters: float, pointing_error_radians: float = 0.0) -> float:
    """Power on the detector, from a partner of the same kind that aims with this error."""
    gain = transmit_gain(laser)
    receive_gain = (math.pi * laser.receive_aperture_meters / laser.wavelength_meters) ** 2
    spread = (laser.wavelength_meters / (4.0 * math.pi * range_meters)) ** 2
    # A Gaussian beam of on-axis gain G has fallen to exp(-G theta^2 / 4) off its axis.
    loss = math.exp(-gain * pointing_error_radians**2 / 4.0)
    return laser.transmit_power_watts * laser.optics_efficiency_ratio**2 * gain * receive_gain * spread * loss


def rate_bits_per_second(laser: Laser, power_watts: float) -> float:
    """Data rate that this power supports, no more than the modem's."""
    photon_joules = PLANCK_JOULE_SECONDS * SPEED_OF_LIGHT_METERS_PER_SECOND / laser.wavelength_meters
    return min(max(power_watts, 0.0) / (photon_joules * laser.photons_per_bit), laser.maximum_rate_bits_per_second)
