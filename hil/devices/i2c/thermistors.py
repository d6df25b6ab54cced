"""From the voltage of a divider to the temperature of its thermistor. Pure arithmetic.

Steinhart and Hart, "Calibration curves for thermistors", Deep-Sea Research 15 (1968):
1/T = a + b ln R + c (ln R)^3, T in kelvin. The beta equation is its case with c = 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

KELVIN: Final = 273.15

# Nearer to the rails than this part of the supply there is no thermistor, but a wire that is off, or a short: with a
# series resistor of the nominal resistance, beyond about -45 and 230 degrees of a usual one.
_RAIL_RATIO: Final = 0.004


class WireError(ValueError):
    """The divider is open or short; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class Divider:
    """A thermistor to ground and a resistor to the supply, or (``to_supply``) the other way round."""

    supply_volts: float
    series_ohms: float
    to_supply: bool = False

    def ohms(self, volts: float) -> float:
        """Resistance of the thermistor.

        Raises:
            WireError: the voltage is at a rail.
        """
        ratio = volts / self.supply_volts
        if self.to_supply:
            ratio = 1.0 - ratio
        if ratio > 1.0 + _RAIL_RATIO:
            raise WireError(
                f"{volts:.3f} V is more than supply_volts = {self.supply_volts:g} gives; measure the supply"
            )
        if ratio > 1.0 - _RAIL_RATIO:
            raise WireError("the thermistor is open: a wire is off")
        if ratio < _RAIL_RATIO:
            raise WireError("the thermistor is short, or the wire of the series resistor is off")
        return self.series_ohms * ratio / (1.0 - ratio)


@dataclass(frozen=True, slots=True)
class Thermistor:
    """Steinhart and Hart's coefficients, for ohms and kelvin."""

    a: float
    b: float
    c: float

    @classmethod
    def of_beta(cls, nominal_ohms: float, nominal_celsius: float, beta: float) -> Thermistor:
        """A thermistor that is known by its resistance at one temperature, and beta (K)."""
        return cls(1.0 / (nominal_celsius + KELVIN) - math.log(nominal_ohms) / beta, 1.0 / beta, 0.0)

    def celsius(self, ohms: float) -> float:
        """Temperature at a resistance; raises ValueError where the coefficients give none."""
        log = math.log(ohms)
        inverse = self.a + self.b * log + self.c * log**3
        if inverse <= 0.0:
            raise ValueError(f"the thermistor's coefficients give no temperature for {ohms:.0f} ohms; check them")
        return 1.0 / inverse - KELVIN
