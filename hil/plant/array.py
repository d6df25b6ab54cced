"""Solar arrays.

    P = S (au/d)^2 * lit * A * eta * max(0, cos) * (1 + k (T - T0)) * ageing

T0 is 28 degrees Celsius, at which cells are rated (ECSS-E-ST-20-08C).
"""

import numpy as np

from hil.plant.constants import ASTRONOMICAL_UNIT_METERS, SOLAR_CONSTANT, ZERO_CELSIUS
from hil.plant.frames import Array

RATED_KELVIN = ZERO_CELSIUS + 28.0


def sunlight(distance_meters: Array) -> Array:
    """Irradiance at a distance from the Sun, W/m2."""
    irradiance: Array = SOLAR_CONSTANT * (ASTRONOMICAL_UNIT_METERS / distance_meters) ** 2
    return irradiance


def power(light_watts: Array, temperature_kelvin: Array, coefficient_per_kelvin: Array) -> Array:
    """Power at the maximum power point, W; ``light_watts`` is the power at the rated temperature."""
    derating = coefficient_per_kelvin * (temperature_kelvin - RATED_KELVIN)
    derating += 1.0
    derating *= light_watts
    return np.maximum(derating, 0.0, out=derating)


def light(irradiance: Array, sunlit_ratio: Array, cos_incidence: Array, rated_area: Array) -> Array:
    """What reaches the cells, as power at the rated temperature, W; ``rated_area`` is area * efficiency * ageing."""
    watts: Array = irradiance * sunlit_ratio * np.maximum(0.0, cos_incidence) * rated_area
    return watts
