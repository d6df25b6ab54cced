"""What a solar array of so many watts offers at its terminals. Pure arithmetic.

"knee" is the simplest curve: the voltage of the maximum power point up to the current that makes the power, and no
more. "one-diode" is the equation of a cell without resistances (Green, Solar Cells, 1982, ch. 5):

    I(V) = I_sc - I_0 (exp(V / a) - 1),   I_0 from I = 0 at the open-circuit voltage

with ``a`` such that the knee sits where the array's does. A supply has a voltage and a current, and not a curve: it is
led along the curve, with the current that belongs to the voltage at which it was last measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple


class SetPoint(NamedTuple):
    """What a supply is set to."""

    volts: float
    amperes: float


@dataclass(frozen=True, slots=True)
class SolarCurve:
    """An array whose maximum power point is at ``volts``, and which has ``open_circuit_volts`` without load."""

    volts: float
    open_circuit_volts: float

    def knee(self, watts: float) -> SetPoint:
        """The rectangle that holds the power."""
        return SetPoint(self.volts, watts / self.volts)

    def one_diode(self, watts: float, measured_volts: float) -> SetPoint:
        """Where the supply is to be, when the load holds it at ``measured_volts``."""
        a = self._exponent_volts()
        # At the maximum power point the current is I_sc (1 - e(V)/e(V_oc)), with e(V) = exp(V/a) - 1.
        share = 1.0 - _ratio(self.volts, self.open_circuit_volts, a)
        short_circuit = watts / self.volts / share
        at = min(self.open_circuit_volts, max(0.0, measured_volts))
        amperes = short_circuit * (1.0 - _ratio(at, self.open_circuit_volts, a))
        return SetPoint(self.open_circuit_volts, amperes)

    def _exponent_volts(self) -> float:
        """``a`` for which dP/dV = 0 at ``volts``: exp((V_oc - V)/a) = 1 + V/a + exp(-V/a), nearly 1 + V/a."""
        low, high = 1e-3 * self.volts, 10.0 * self.volts
        for _ in range(80):
            middle = math.sqrt(low * high)
            if (self.open_circuit_volts - self.volts) / middle > math.log1p(self.volts / middle):
                low = middle
            else:
                high = middle
        return low


def _ratio(volts: float, open_circuit_volts: float, a: float) -> float:
    return math.expm1(volts / a) / math.expm1(open_circuit_volts / a)
