"""Whether thermometers, and the radiator, are what they should be: the residuals of the thermal estimator.

The estimator follows its sensors, so that a lasting residual is a heat flow that its model does not know:
W = gain x C x residual per second. A biased chip sensor shows as heat that a chip does not have, a radiator that has
lost a part of its area as heat that is not given off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from flight.sensor_check import Change, Doubt, SensorCheck, Tolerance, told
from flight.thermal.network import SENSOR_GAIN, NodeEstimate, radiated_watts
from skyrack.satellite import Thermal

_SCATTER_KELVIN: Final = 1.5
"""Usual are 0.2 K (thermometers of 0.1 K)."""
_RESIDUAL_KELVIN: Final = 0.5
"""Usual are up to 0.04 K over a day, with jobs and eclipses."""
_RADIATOR_RATIO: Final = 0.3
"""Of what the radiator gives off. Usual are up to 0.15: the Earth's light and heat, which the model leaves out."""
_REPEATS: Final = 60
_LONGEST_STEP_SECONDS: Final = 5.0


class ThermalChecks:
    """All thermometers of a satellite."""

    def __init__(self, thermal: Thermal, nodes: Mapping[str, NodeEstimate]) -> None:
        self._nodes = nodes
        usual = radiated_watts(thermal, thermal.initial_celsius)
        self._radiator_kelvin_watts = SENSOR_GAIN * thermal.radiator_heat_capacity_joules_per_kelvin
        radiator = _RADIATOR_RATIO * usual / self._radiator_kelvin_watts
        self._checks = {
            name: SensorCheck(
                f"thermal.{name}",
                Tolerance(_SCATTER_KELVIN, radiator if name == "radiator" else _RESIDUAL_KELVIN, repeats=_REPEATS),
                patience_seconds=math.inf,  # who is silent is told of as thermometer_lost
            )
            for name in nodes
        }
        self._weak = False

    def look(
        self, now: float, seconds: float, readings: Mapping[str, float | None], pump_runs: bool
    ) -> list[tuple[str, str, str]]:
        """Judge a step of so many seconds: name, text and node of the events to tell."""
        events: list[tuple[str, str, str]] = []
        for name, check in self._checks.items():
            innovation, value = self._nodes[name].innovation_kelvin, readings.get(name)
            if innovation is None or value is None or seconds > _LONGEST_STEP_SECONDS:
                continue
            changes = check.look(now, value, value - innovation / max(1.0, seconds))
            events.extend(self._told(name, change, pump_runs) for change in changes)
        return events

    def _told(self, name: str, change: Change, pump_runs: bool) -> tuple[str, str, str]:
        if name == "radiator" and change.doubt is Doubt.OFF:
            watts = change.amount * self._radiator_kelvin_watts
            if change.over and self._weak:
                self._weak = False
                return "radiator_recovered", "the radiator gives off what it should", name
            if not change.over and watts > 0 and pump_runs:
                self._weak = True
                return "radiator_weak", f"the radiator gives off {watts:.0f} W less than it should", name
        return (*told(change, "K"), name)
