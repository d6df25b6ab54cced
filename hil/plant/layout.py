"""How satellite files become arrays: consumers of power, thermal nodes, and the names of sensors and actuators.

Satellites of different designs share arrays; rows are satellites, shorter ones are padded with consumers that draw
nothing and thermal nodes that touch nothing.

Consumers of a satellite, in this order: ``bus`` (with the antenna), ``pump``, heaters, loads, rack nodes, lasers.
Thermal nodes: the five that every satellite has, then the rack nodes' chips. Everything that is not a rack node, a
heater or the pump warms the radiator panel, on which it is mounted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hil.plant.battery import JOULES_PER_WATT_HOUR, BatteryDesign
from hil.plant.constants import STEFAN_BOLTZMANN
from hil.plant.frames import Array
from hil.plant.geometry import ARRAY_EMISSIVITY
from skyrack.satellite import SatelliteFile

COMMON_NODES = ("cold-plate", "loop", "radiator", "battery", "array")
BUS, PUMP = 0, 1  # columns of the consumers that are not behind a switch
COLD_PLATE, LOOP, RADIATOR, BATTERY, ARRAY = range(len(COMMON_NODES))

ARRAY_HEAT_CAPACITY_PER_M2 = 2500.0  # J/K/m2: a rigid panel of 2.8 kg/m2
CONDUCTION_RATIO = 0.02  # of the loop's conductance, when its coolant stands still
FLOW_EXPONENT = 0.8  # Dittus and Boelter, turbulent flow
PUMP_POWER_EXPONENT = 3.0  # affinity law


@dataclass(frozen=True, slots=True)
class Consumer:
    """Something that draws power; unswitched ones are always on."""

    name: str
    kind: str  # bus, pump, heater, load, node, laser
    watts: float
    sheddable: bool
    node: int  # the thermal node that it warms


class SatelliteLayout:
    """One satellite's rows in the arrays."""

    def __init__(self, index: int, name: str, design: SatelliteFile) -> None:
        self.index = index
        self.name = name
        self.design = design
        self.nodes = (*COMMON_NODES, *(node.name for node in design.nodes))

    def node(self, name: str) -> int:
        """Column of a thermal node."""
        return self.nodes.index(name)

    @cached_property
    def consumers(self) -> tuple[Consumer, ...]:
        """All that draws power, in the arrays' order."""
        design, panel = self.design, RADIATOR
        return (
            Consumer("bus", "bus", design.bus_watts + design.antenna.watts, sheddable=False, node=panel),
            Consumer("pump", "pump", design.thermal.pump_watts, sheddable=False, node=LOOP),
            *(Consumer(h.name, "heater", h.watts, sheddable=True, node=self.node(h.node)) for h in design.heaters),
            *(Consumer(x.name, "load", x.watts, sheddable=x.sheddable, node=panel) for x in design.loads),
            *(Consumer(x.name, "node", x.idle_watts, sheddable=True, node=self.node(x.name)) for x in design.nodes),
            *(Consumer(x.name, "laser", x.watts, sheddable=True, node=panel) for x in design.lasers),
        )


def layouts(designs: Sequence[tuple[str, SatelliteFile]]) -> tuple[SatelliteLayout, ...]:
    """Lay out all satellites."""
    return tuple(SatelliteLayout(index, name, design) for index, (name, design) in enumerate(designs))


def battery_design(designs: Sequence[SatelliteFile]) -> BatteryDesign:
    """The batteries' figures as arrays."""
    batteries = [design.battery for design in designs]
    capacity = np.array([b.capacity_watt_hours for b in batteries]) * JOULES_PER_WATT_HOUR
    return BatteryDesign(
        capacity_joules=capacity,
        floor_joules=capacity * [b.floor_ratio for b in batteries],
        charge_efficiency=np.array([b.charge_efficiency_ratio for b in batteries]),
        discharge_efficiency=np.array([b.discharge_efficiency_ratio for b in batteries]),
        maximum_charge_watts=np.array([b.maximum_charge_watts for b in batteries]),
        maximum_discharge_watts=np.array([b.maximum_discharge_watts for b in batteries]),
        nominal_volts=np.array([b.nominal_voltage_volts for b in batteries]),
        resistance_ohms=np.array([b.internal_resistance_ohms for b in batteries]),
    )


def heat_capacities(satellites: Sequence[SatelliteLayout], columns: int) -> Array:
    """Heat capacity of each node, J/K."""
    capacity = np.ones((len(satellites), columns))
    for satellite in satellites:
        t, row = satellite.design.thermal, capacity[satellite.index]
        row[len(COMMON_NODES) : len(satellite.nodes)] = t.chip_heat_capacity_joules_per_kelvin
        row[COLD_PLATE] = t.cold_plate_heat_capacity_joules_per_kelvin
        row[LOOP] = t.loop_heat_capacity_joules_per_kelvin
        row[RADIATOR] = t.radiator_heat_capacity_joules_per_kelvin
        row[BATTERY] = t.battery_heat_capacity_joules_per_kelvin
        row[ARRAY] = satellite.design.array.area_m2 * ARRAY_HEAT_CAPACITY_PER_M2
    return capacity


def conductances(satellite: SatelliteLayout, columns: int, pump_duty_ratio: float) -> Array:
    """Conductances between one satellite's nodes at a pump duty, W/K, symmetric."""
    t = satellite.design.thermal
    flow = max(CONDUCTION_RATIO, pump_duty_ratio**FLOW_EXPONENT)
    matrix = np.zeros((columns, columns))
    matrix[len(COMMON_NODES) : len(satellite.nodes), COLD_PLATE] = t.chip_to_plate_watts_per_kelvin
    matrix[COLD_PLATE, LOOP] = t.plate_to_loop_watts_per_kelvin * flow
    matrix[LOOP, RADIATOR] = t.loop_to_radiator_watts_per_kelvin * flow
    matrix[BATTERY, RADIATOR] = t.battery_to_radiator_watts_per_kelvin
    symmetric: Array = matrix + matrix.T
    return symmetric


def radiances(satellites: Sequence[SatelliteLayout], columns: int) -> Array:
    """Emissivity * Stefan-Boltzmann * area of each node, W/K^4."""
    radiance = np.zeros((len(satellites), columns))
    for satellite in satellites:
        t, row = satellite.design.thermal, radiance[satellite.index]
        faces = t.radiator_area_m2 * t.radiator_faces
        row[RADIATOR] = t.radiator_emissivity_ratio * faces * STEFAN_BOLTZMANN
        row[ARRAY] = 2.0 * satellite.design.array.area_m2 * ARRAY_EMISSIVITY * STEFAN_BOLTZMANN
    return radiance
