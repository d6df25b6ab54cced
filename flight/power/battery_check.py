"""Whether the battery monitor may be believed: what no battery can show, and what has not moved while power did."""

from __future__ import annotations

from flight.power.battery import BatteryDesign

_UNMOVED_READINGS = 15
# Array and loads, with what is rated but not metered, tell battery power to about this.
_DISAGREEMENT_RATIO = 0.3
_DISAGREEMENT_WATTS = 150.0


class BatteryCheck:
    """Takes each reading once."""

    __slots__ = ("_design", "_last", "_unmoved")

    def __init__(self, design: BatteryDesign) -> None:
        self._design = design
        self._last = (0.0, 0.0)
        self._unmoved = 0

    def believes(self, voltage_volts: float, current_amperes: float, others_watts: float) -> bool:
        """Whether the reading is usable; ``others_watts`` is battery power by the other meters (W, charging positive).

        Not usable: values that no such battery shows (nan included), and values that stay the same to the last bit
        while the other meters say something else.
        """
        reading = (voltage_volts, current_amperes)
        self._unmoved = self._unmoved + 1 if reading == self._last else 0
        self._last = reading
        if not self._possible(voltage_volts, current_amperes):
            return False
        if self._unmoved < _UNMOVED_READINGS:
            return True
        difference = abs(voltage_volts * current_amperes - others_watts)
        return difference < _DISAGREEMENT_WATTS + _DISAGREEMENT_RATIO * abs(others_watts)

    def _possible(self, voltage_volts: float, current_amperes: float) -> bool:
        nominal = self._design.nominal_voltage_volts
        greatest = max(self._design.maximum_charge_watts, self._design.maximum_discharge_watts)
        return 0.5 * nominal < voltage_volts < 1.4 * nominal and abs(current_amperes * voltage_volts) < 1.5 * greatest
