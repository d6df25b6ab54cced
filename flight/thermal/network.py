"""On-board thermal model and estimator: every node's temperature from its sensor and from its neighbours.

The network is chip (one per rack node) -> cold plate -> coolant loop -> radiator, with the battery on the radiator.
A step is implicit in each node's own temperature, so it is stable at any length. A sensor pulls its node's estimate;
where it is silent, jumps or is stuck, the model goes on alone and the node is marked as not valid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from skyrack.satellite import Thermal

STEFAN_BOLTZMANN = 5.670374419e-8
ZERO_CELSIUS_KELVIN = 273.15
COMMON_NODES = ("cold-plate", "loop", "radiator", "battery")

# What still conducts when the coolant stands, and how heat transfer grows with flow (Dittus and Boelter).
_STANDING_RATIO = 0.02
_FLOW_EXPONENT = 0.8
SENSOR_GAIN = 0.3
_PLAUSIBLE_CELSIUS = (-120.0, 200.0)
_JUMP_KELVIN = 25.0
_JUMPS_BELIEVED = 10
_STUCK_DRIFT_KELVIN = 5.0


def flow_ratio(duty_ratio: float) -> float:
    """Heat transfer into the coolant at a pump duty, relative to full duty."""
    return float(max(_STANDING_RATIO, max(0.0, duty_ratio) ** _FLOW_EXPONENT))


def radiated_watts(thermal: Thermal, radiator_celsius: float) -> float:
    """Heat that the radiator gives off at a temperature (what it takes in not counted)."""
    area = thermal.radiator_area_m2 * thermal.radiator_faces
    kelvin = radiator_celsius + ZERO_CELSIUS_KELVIN
    return thermal.radiator_emissivity_ratio * STEFAN_BOLTZMANN * area * kelvin**4


@dataclass(frozen=True, slots=True)
class Heat:
    """Heat that enters the network, W: of each chip, of heaters by node, of what else sits on loop and radiator."""

    chips: Mapping[str, float]
    heaters: Mapping[str, float]
    loop_watts: float
    radiator_watts: float


class NodeEstimate:
    """One node's temperature, and whether its sensor may be believed."""

    __slots__ = ("_drift", "_jumps", "_last", "celsius", "innovation_kelvin", "seeded", "valid")

    def __init__(self, celsius: float) -> None:
        self.celsius = celsius
        # The last reading over what the model said before it was taken in; None when there was none.
        self.innovation_kelvin: float | None = None
        self.valid = False
        self.seeded = False
        self._jumps = 0
        self._last: float | None = None
        self._drift = 0.0

    def predict(self, celsius: float) -> None:
        """Take the model's next temperature."""
        self._drift += celsius - self.celsius
        self.celsius = celsius

    def correct(self, measured: float | None) -> None:
        """Take a reading, ``None`` where there is no good one."""
        self.innovation_kelvin = measured - self.celsius if measured is not None and self.seeded else None
        if measured is None or not _PLAUSIBLE_CELSIUS[0] < measured < _PLAUSIBLE_CELSIUS[1]:
            self.valid = False
            return
        if measured != self._last:
            self._last, self._drift = measured, 0.0
        if abs(self._drift) > _STUCK_DRIFT_KELVIN:
            self.valid = False
            return
        if not self.seeded:
            self.celsius, self.seeded, self.valid = measured, True, True
            return
        error = measured - self.celsius
        if abs(error) > _JUMP_KELVIN:
            self._jumps += 1
            self.valid = False
            if self._jumps >= _JUMPS_BELIEVED:
                # The sensor insists: then the model is wrong.
                self.celsius, self._jumps, self.valid = measured, 0, True
            return
        self._jumps = 0
        self.valid = True
        self.celsius += SENSOR_GAIN * error


class ThermalEstimator:
    """Temperatures of all nodes."""

    def __init__(self, thermal: Thermal, chips: tuple[str, ...]) -> None:
        self._thermal = thermal
        self.chips = chips
        self.nodes = {name: NodeEstimate(thermal.initial_celsius) for name in (*COMMON_NODES, *chips)}

    def step(self, seconds: float, heat: Heat, duty_ratio: float, readings: Mapping[str, float | None]) -> None:
        """Advance by one step, then take the readings (degrees Celsius by node)."""
        if seconds > 0.0:
            self._predict(seconds, heat, duty_ratio)
        for name, node in self.nodes.items():
            node.correct(readings.get(name))

    def hottest_chip_celsius(self) -> float:
        """Temperature of the hottest chip."""
        return max(self.nodes[name].celsius for name in self.chips)

    def _predict(self, seconds: float, heat: Heat, duty_ratio: float) -> None:
        t, nodes = self._thermal, self.nodes
        flow = flow_ratio(duty_ratio)
        plate, loop = nodes["cold-plate"].celsius, nodes["loop"].celsius
        radiator, battery = nodes["radiator"].celsius, nodes["battery"].celsius
        heaters = heat.heaters
        to_chip = t.chip_to_plate_watts_per_kelvin
        into_plate = heaters.get("cold-plate", 0.0)
        for name in self.chips:
            node = nodes[name]
            watts = heat.chips.get(name, 0.0) + heaters.get(name, 0.0)
            into_plate += to_chip * (node.celsius - plate)
            node.predict(
                _relax(node.celsius, seconds, t.chip_heat_capacity_joules_per_kelvin, to_chip, to_chip * plate + watts)
            )
        to_loop, to_radiator = t.plate_to_loop_watts_per_kelvin * flow, t.loop_to_radiator_watts_per_kelvin * flow
        to_battery = t.battery_to_radiator_watts_per_kelvin
        coupling = to_chip * len(self.chips)
        nodes["cold-plate"].predict(
            _relax(
                plate,
                seconds,
                t.cold_plate_heat_capacity_joules_per_kelvin,
                to_loop + coupling,
                to_loop * loop + coupling * plate + into_plate,
            )
        )
        nodes["loop"].predict(
            _relax(
                loop,
                seconds,
                t.loop_heat_capacity_joules_per_kelvin,
                to_loop + to_radiator,
                to_loop * plate + to_radiator * radiator + heat.loop_watts + heaters.get("loop", 0.0),
            )
        )
        gained = heat.radiator_watts + heaters.get("radiator", 0.0) - radiated_watts(t, radiator)
        nodes["radiator"].predict(
            _relax(
                radiator,
                seconds,
                t.radiator_heat_capacity_joules_per_kelvin,
                to_radiator + to_battery,
                to_radiator * loop + to_battery * battery + gained,
            )
        )
        nodes["battery"].predict(
            _relax(
                battery,
                seconds,
                t.battery_heat_capacity_joules_per_kelvin,
                to_battery,
                to_battery * radiator + heaters.get("battery", 0.0),
            )
        )


def _relax(celsius: float, seconds: float, capacity: float, conductance: float, inflow: float) -> float:
    """Exact step of C dT/dt = inflow - G T with both taken as constant."""
    if conductance <= 0.0:
        return celsius + inflow * seconds / capacity
    settled = inflow / conductance
    return settled + (celsius - settled) * math.exp(-conductance * seconds / capacity)
