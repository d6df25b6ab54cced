"""Batteries: energy, limits, voltage, losses, cycles; vectorised over satellites.

    dE/dt = eta_c P_c - P_d / eta_d

Charging is limited to a power that tapers to nothing between 90 % and full; discharging ends at the floor. What the
efficiencies take is heat. The voltage follows an open-circuit curve of a lithium-ion cell (a steep foot, a plateau, a
rising shoulder; after Plett, Battery Management Systems I, ch. 2, NMC at 25 degrees), less the drop over the internal
resistance.
"""

import math
from dataclasses import dataclass

import numpy as np

from hil.plant.frames import Array

TAPER_BEGINS_RATIO = 0.9
JOULES_PER_WATT_HOUR = 3600.0

# Open-circuit voltage over nominal voltage, by state of charge.
OCV_CHARGE_RATIO = np.array([0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
OCV_RATIO = np.array([0.811, 0.892, 0.919, 0.949, 0.968, 0.981, 0.995, 1.019, 1.054, 1.084, 1.114, 1.135])


@dataclass(frozen=True, slots=True)
class BatteryDesign:
    """Batteries' fixed figures, one row per satellite (W, J, V, ohm)."""

    capacity_joules: Array
    floor_joules: Array
    charge_efficiency: Array
    discharge_efficiency: Array
    maximum_charge_watts: Array
    maximum_discharge_watts: Array
    nominal_volts: Array
    resistance_ohms: Array


class Batteries:
    """State of all batteries."""

    def __init__(self, design: BatteryDesign, energy_joules: Array) -> None:
        self.design = design
        self.energy_joules = energy_joules.copy()
        self.power_watts = np.zeros_like(energy_joules)  # at the terminals, charging positive
        self.discharged_joules = np.zeros_like(energy_joules)
        self._taper = design.maximum_charge_watts / ((1.0 - TAPER_BEGINS_RATIO) * design.capacity_joules)
        self._drain = 1.0 / design.discharge_efficiency
        self._step_seconds = 0.0

    def step(self, offered_watts: Array, step_seconds: float) -> tuple[Array, Array]:
        """Take or give power for one step.

        Args:
            offered_watts: array power less loads; negative asks the battery for power.
            step_seconds: length of the step.

        Returns:
            Power at the terminals (charging positive; short of the offer where a limit holds), and loss as heat, W.
        """
        design = self.design
        if step_seconds != self._step_seconds:
            self._step_seconds = step_seconds
            # One step never fills the battery past full, nor empties it past the floor.
            self._fill = np.minimum(self._taper, 1.0 / (design.charge_efficiency * step_seconds))
            self._empty = design.discharge_efficiency / step_seconds
        highest = design.capacity_joules - self.energy_joules
        highest *= self._fill
        np.minimum(highest, design.maximum_charge_watts, out=highest)
        lowest = design.floor_joules - self.energy_joules
        lowest *= self._empty
        np.maximum(lowest, -design.maximum_discharge_watts, out=lowest)
        power = np.minimum(offered_watts, highest)
        np.maximum(power, lowest, out=power)
        # The lesser of the two is what charging stores, and what discharging takes.
        stored = np.minimum(power * design.charge_efficiency, power * self._drain)
        gain = stored * step_seconds
        self.energy_joules = self.energy_joules + gain
        self.discharged_joules -= np.minimum(gain, 0.0)
        self.power_watts = power
        return power, power - stored

    def arrays(self) -> dict[str, Array]:
        """All state, by name; to be written over in place."""
        return {
            "battery.energy_joules": self.energy_joules,
            "battery.power_watts": self.power_watts,
            "battery.discharged_joules": self.discharged_joules,
        }

    def state_of_charge(self) -> Array:
        """Energy over capacity."""
        ratio: Array = self.energy_joules / self.design.capacity_joules
        return ratio

    def cycles(self) -> Array:
        """Equivalent full cycles since the start: energy taken out over capacity."""
        cycles: Array = self.discharged_joules / self.design.capacity_joules
        return cycles


def open_circuit_volts(state_of_charge_ratio: float, nominal_volts: float) -> float:
    """Voltage without load."""
    return nominal_volts * float(np.interp(state_of_charge_ratio, OCV_CHARGE_RATIO, OCV_RATIO))


def terminal_volts(open_circuit: float, power_watts: float, resistance_ohms: float) -> float:
    """Voltage at a terminal power (charging positive): V^2 - V_oc V - R P = 0, the larger root.

    A power that the resistance cannot pass gives the voltage at the greatest that it can, half of the open circuit's.
    """
    return 0.5 * (open_circuit + math.sqrt(max(0.0, open_circuit**2 + 4.0 * resistance_ohms * power_watts)))
