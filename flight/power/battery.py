"""How full the battery is: energy counting, corrected by the open-circuit voltage.

A Kalman filter with one state (Plett, Battery Management Systems II, ch. 3, reduced to the state of charge): the
prediction counts energy through the terminals with the losses each way; the correction compares terminal voltage less
the drop over the internal resistance with the cell's open-circuit curve, and trusts it where the curve is steep and
the current small. The curve is that of an NMC cell at 25 degrees Celsius, relative to nominal voltage.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

_CHARGE = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_VOLTAGE = (0.811, 0.892, 0.919, 0.949, 0.968, 0.981, 0.995, 1.019, 1.054, 1.084, 1.114, 1.135)

# Errors of one voltage sample that do not average out within minutes: curve, temperature, polarisation.
_VOLTAGE_ERROR_RATIO = 0.03
_RESISTANCE_ERROR_RATIO = 0.3
# Energy counting drifts by this part of the power counted.
_COUNTING_ERROR_RATIO = 0.02
_INITIAL_DEVIATION = 0.05
_LONGEST_STEP_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class BatteryDesign:
    """What the satellite file says about the battery, J, V, ohm and W."""

    capacity_joules: float
    nominal_voltage_volts: float
    internal_resistance_ohms: float
    charge_efficiency_ratio: float
    discharge_efficiency_ratio: float
    maximum_charge_watts: float
    maximum_discharge_watts: float


def open_circuit_volts(state_of_charge_ratio: float, nominal_voltage_volts: float) -> tuple[float, float]:
    """Open-circuit voltage, and its slope in V per unit of state of charge."""
    k = min(max(bisect_right(_CHARGE, state_of_charge_ratio), 1), len(_CHARGE) - 1)
    slope = (_VOLTAGE[k] - _VOLTAGE[k - 1]) / (_CHARGE[k] - _CHARGE[k - 1])
    ratio = _VOLTAGE[k - 1] + slope * (state_of_charge_ratio - _CHARGE[k - 1])
    return ratio * nominal_voltage_volts, slope * nominal_voltage_volts


def state_of_charge_from_voltage(open_circuit: float, nominal_voltage_volts: float) -> float:
    """State of charge at an open-circuit voltage, 0 to 1."""
    ratio = open_circuit / nominal_voltage_volts
    k = min(max(bisect_right(_VOLTAGE, ratio), 1), len(_VOLTAGE) - 1)
    share = (ratio - _VOLTAGE[k - 1]) / (_VOLTAGE[k] - _VOLTAGE[k - 1])
    return min(1.0, max(0.0, _CHARGE[k - 1] + share * (_CHARGE[k] - _CHARGE[k - 1])))


class ChargeEstimator:
    """State of charge from battery readings; unknown until the first plausible one."""

    __slots__ = ("_design", "_time", "_variance", "power_watts", "state_of_charge_ratio")

    def __init__(self, design: BatteryDesign) -> None:
        self._design = design
        self._variance = _INITIAL_DEVIATION**2
        self._time: float | None = None
        self.state_of_charge_ratio: float | None = None
        self.power_watts = 0.0

    @property
    def deviation_ratio(self) -> float:
        """Standard deviation of the estimate."""
        return float(self._variance**0.5)

    def update(self, now: float, voltage_volts: float, current_amperes: float) -> None:
        """Take a plausible reading (V, A charging positive) of mission time ``now``."""
        design = self._design
        open_circuit = voltage_volts - current_amperes * design.internal_resistance_ohms
        self.power_watts = voltage_volts * current_amperes
        if self.state_of_charge_ratio is None or self._time is None:
            self.state_of_charge_ratio = state_of_charge_from_voltage(open_circuit, design.nominal_voltage_volts)
            self._time = now
            return
        seconds = self._count(now, self.power_watts)
        expected, slope = open_circuit_volts(self.state_of_charge_ratio, design.nominal_voltage_volts)
        voltage_error = (
            _VOLTAGE_ERROR_RATIO * design.nominal_voltage_volts
            + _RESISTANCE_ERROR_RATIO * abs(current_amperes) * design.internal_resistance_ohms
        )
        # The error is nearly the same from sample to sample: a sample weighs as much as the time that it stands for.
        noise = voltage_error**2 * 60.0 / max(seconds, 1e-3)
        gain = self._variance * slope / (slope * slope * self._variance + noise)
        corrected = self.state_of_charge_ratio + gain * (open_circuit - expected)
        self.state_of_charge_ratio = min(1.0, max(0.0, corrected))
        self._variance *= 1.0 - gain * slope

    def coast(self, now: float, power_watts: float) -> None:
        """Go on without a reading, with the battery power (W, charging positive) that other meters tell."""
        self.power_watts = power_watts
        if self.state_of_charge_ratio is not None:
            self._count(now, power_watts)

    def _count(self, now: float, power_watts: float) -> float:
        design = self._design
        before = self._time if self._time is not None else now
        seconds = min(max(now - before, 0.0), _LONGEST_STEP_SECONDS)
        self._time = max(now, before)
        factor = design.charge_efficiency_ratio if power_watts > 0.0 else 1.0 / design.discharge_efficiency_ratio
        moved = power_watts * factor * seconds / design.capacity_joules
        self.state_of_charge_ratio = min(1.0, max(0.0, (self.state_of_charge_ratio or 0.0) + moved))
        # Errors of counting add up like a bias over minutes, not like noise from step to step.
        drift = _COUNTING_ERROR_RATIO * abs(moved)
        self._variance += drift * drift * 60.0 / max(seconds, 1e-3) + 1e-9 * seconds
        return seconds
