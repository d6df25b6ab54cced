"""A satellite's sensors and actuators by name.

Sensors (truth; devices add their noise):

    battery.voltage_volts, .current_amperes (charging positive), .celsius, .state_of_charge_ratio, .cycles
    array.watts                     bus.undervoltage, bus.brownouts_total
    load.<name>.watts, .closed      of loads, rack nodes and lasers
    heater.<name>.watts, .closed    pump.duty_ratio, pump.watts
    thermal.<node>.celsius          of cold-plate, loop, radiator, battery, array and rack nodes
    orbit.position_{x,y,z}_meters, orbit.velocity_{x,y,z}_meters_per_second (TEME),
        orbit.sunlit_ratio, orbit.time_seconds (as GNSS tells it)
    laser.<name>.azimuth_radians, .elevation_radians, .received_watts, .error_azimuth_radians,
        .error_elevation_radians, .slewing, .transmitting, .partner (whether there is one to look at),
        .partner_azimuth_radians, .partner_elevation_radians (where the gimbal would look at it)
    link.{optical,antenna}.up, .rate_bits_per_second, .delay_seconds

Actuators:

    load.<name>.switch, heater.<name>.switch (0 or 1), pump.duty_ratio (0 to 1), node.<name>.draw_watts
    laser.<name>.azimuth_radians, .elevation_radians, .azimuth_rate, .elevation_rate (rad/s), .at_seconds,
        .ahead_azimuth_radians, .ahead_elevation_radians, .transmit (0 or 1)

Faults, set like actuators:

    fault.load.<name>.short_watts, fault.pump.stopped, fault.radiator.lost_ratio
    fault.laser.<name>.mispointing_radians (added to the bias), fault.link.{optical,antenna}.outage
    fault.device.<device>.{stuck,bias,noise,silent}, which the plant hands on to the device
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from hil.plant import layout, links
from hil.plant.battery import open_circuit_volts, terminal_volts
from hil.plant.constants import STEFAN_BOLTZMANN, ZERO_CELSIUS
from hil.plant.frames import Array
from hil.plant.link import PlantKeyError
from skyrack.backhaul import LinkState
from skyrack.files import suggest

if TYPE_CHECKING:
    from hil.plant.plant import Plant

DEVICE_FAULT = "fault.device."
_NAMED_FAULT_PARTS = 4


class Ports:
    """Sensors and actuators of one satellite."""

    def __init__(self, plant: Plant, index: int) -> None:
        self._plant = plant
        self._index = index
        self._name = plant.names[index]
        self._layout = plant.layouts[index]
        self._orbit_time = np.nan
        self._orbit: tuple[float, ...] = ()
        self._links: dict[str, Callable[[], LinkState]] = {
            "optical": lambda: links.optical(plant, index),
            "antenna": lambda: links.antenna(plant, index),
        }
        self.device_faults: dict[str, float] = {}
        # Direct access for who asks often; read() says more when a key is wrong.
        self.gauges: dict[str, Callable[[], float]] = {}
        self._actuators: dict[str, Callable[[float], None]] = {}
        self._add_electricity()
        self._add_heat()
        self._add_orbit()
        self._add_lasers()
        self._add_links()
        named = {
            key.rpartition(".")[0] for key in self.gauges if key.startswith(("load.", "heater.", "thermal.", "laser."))
        }
        self._devices = {"battery", "array", "gnss", "pump", "antenna", *named, *self._layout.design.devices}

    @classmethod
    def of(cls, plant: Plant, satellite: str, index: Mapping[str, int]) -> Ports:
        """Ports of a satellite by its name.

        Raises:
            PlantKeyError: no such satellite.
        """
        if satellite not in index:
            raise PlantKeyError(f'the plant has no satellite "{satellite}"; it has {", ".join(index)}')
        return cls(plant, index[satellite])

    def read(self, key: str) -> float:
        """One sensor."""
        try:
            return self.gauges[key]()
        except KeyError:
            raise PlantKeyError(f'{self._name} has no sensor "{key}"; it has {", ".join(self.gauges)}') from None

    def sensors(self) -> dict[str, float]:
        """All sensors."""
        return {key: read() for key, read in self.gauges.items()}

    def actuate(self, key: str, value: float) -> None:
        """Set one actuator."""
        if key.startswith(DEVICE_FAULT):
            device = key.removeprefix(DEVICE_FAULT).rpartition(".")[0]
            if device not in self._devices:
                raise PlantKeyError(f'{self._name} has no device "{device}"; {suggest(device, self._devices)}')
            self.device_faults[key.removeprefix(DEVICE_FAULT)] = value
            return
        try:
            actuator = self._actuators[key]
        except KeyError:
            raise PlantKeyError(self._unknown(key)) from None
        actuator(value)

    def _unknown(self, key: str) -> str:
        """That there is no such actuator; of a fault, that there is nothing that it could strike."""
        parts = key.split(".")
        if parts[0] == "fault" and len(parts) == _NAMED_FAULT_PARTS:
            _, family, name, what = parts
            others = [other.split(".") for other in self._actuators if other.startswith(f"fault.{family}.")]
            names = [other[2] for other in others if other[-1] == what]
            return f'{self._name} has no {family} "{name}"; {suggest(name, names)}'
        return f'{self._name} has no actuator "{key}"; it has {", ".join(self._actuators)}'

    def link(self, link: str) -> LinkState:
        """One link's state."""
        if link not in self._links:
            raise PlantKeyError(f'{self._name} has no link "{link}"; it has {", ".join(self._links)}')
        return self._links[link]()

    def _add_electricity(self) -> None:
        plant, i, batteries = self._plant, self._index, self._plant.batteries
        nominal = float(batteries.design.nominal_volts[i])
        resistance = float(batteries.design.resistance_ohms[i])
        capacity = float(batteries.design.capacity_joules[i])

        def voltage() -> float:
            open_circuit = open_circuit_volts(float(batteries.energy_joules[i]) / capacity, nominal)
            return terminal_volts(open_circuit, float(batteries.power_watts[i]), resistance)

        self.gauges |= {
            "battery.voltage_volts": voltage,
            "battery.current_amperes": lambda: float(batteries.power_watts[i]) / voltage(),
            "battery.state_of_charge_ratio": lambda: float(batteries.energy_joules[i]) / capacity,
            "battery.cycles": lambda: float(batteries.discharged_joules[i]) / capacity,
            "battery.celsius": lambda: float(plant.thermal.temperature[i, layout.BATTERY]) - ZERO_CELSIUS,
            "array.watts": lambda: float(plant.array_watts[i]),
            "bus.undervoltage": lambda: float(plant.undervoltage[i]),
            "bus.brownouts_total": lambda: float(plant.brownouts[i]),
        }
        for column, consumer in enumerate(self._layout.consumers):
            if consumer.kind not in ("bus", "pump"):
                self._add_switch(column, consumer)

    def _add_switch(self, column: int, consumer: layout.Consumer) -> None:
        plant, loads, i = self._plant, self._plant.loads, self._index
        prefix = f"{'heater' if consumer.kind == 'heater' else 'load'}.{consumer.name}"

        def switch(value: float) -> None:
            if value and consumer.sheddable and plant.undervoltage[i]:
                return
            if bool(loads.closed[i, column]) != bool(value):
                loads.closed[i, column] = bool(value)
                # What was not running draws its idle power, until its driver says otherwise.
                loads.demand_watts[i, column] = consumer.watts
                loads.changed()

        def short(value: float) -> None:
            loads.short_watts[i, column] = value
            loads.changed()

        self.gauges[f"{prefix}.watts"] = lambda: float(loads.drawn_watts[i, column] * loads.closed[i, column])
        self.gauges[f"{prefix}.closed"] = lambda: float(loads.closed[i, column])
        self._actuators[f"{prefix}.switch"] = switch
        self._actuators[f"fault.{prefix}.short_watts"] = short
        if consumer.kind == "node":

            def draw(value: float) -> None:
                if loads.demand_watts[i, column] != value:
                    loads.demand_watts[i, column] = max(0.0, value)
                    loads.changed()

            self._actuators[f"node.{consumer.name}.draw_watts"] = draw

    def _add_heat(self) -> None:
        plant, i = self._plant, self._index
        temperature = plant.thermal.temperature
        for column, name in enumerate(self._layout.nodes):
            self.gauges[f"thermal.{name}.celsius"] = (
                lambda column=column: float(temperature[i, column]) - ZERO_CELSIUS  # type: ignore[misc]
            )
        self.gauges["pump.duty_ratio"] = lambda: 0.0 if plant.pump_stopped[i] else float(plant.pump_duty[i])
        self.gauges["pump.watts"] = lambda: float(plant.loads.drawn_watts[i, layout.PUMP])

        def duty(value: float) -> None:
            value = min(1.0, max(0.0, value))
            if plant.pump_duty[i] != value:
                plant.pump_duty[i] = value
                plant.set_pump(i)

        def stopped(value: float) -> None:
            plant.pump_stopped[i] = bool(value)
            plant.set_pump(i)

        def lost(value: float) -> None:
            t = self._layout.design.thermal
            whole = t.radiator_emissivity_ratio * t.radiator_area_m2 * t.radiator_faces * STEFAN_BOLTZMANN
            plant.thermal.set_radiance(i, layout.RADIATOR, whole * (1.0 - min(1.0, max(0.0, value))))

        self._actuators |= {"pump.duty_ratio": duty, "fault.pump.stopped": stopped, "fault.radiator.lost_ratio": lost}

    def _add_orbit(self) -> None:
        plant, i = self._plant, self._index

        def orbit(part: int) -> float:
            if self._orbit_time != plant.time:
                position, velocity = plant.geometry.state(i, plant.time)
                self._orbit = (*position.tolist(), *velocity.tolist())
                self._orbit_time = plant.time
            return self._orbit[part]

        def lit() -> float:
            block, row = plant.block_row
            return float(block.sunlit_ratio[row, i])

        for part, axis in enumerate("xyz"):
            self.gauges[f"orbit.position_{axis}_meters"] = lambda part=part: orbit(part)  # type: ignore[misc]
            self.gauges[f"orbit.velocity_{axis}_meters_per_second"] = (
                lambda part=part: orbit(part + 3)  # type: ignore[misc]
            )
        self.gauges["orbit.sunlit_ratio"] = lit
        self.gauges["orbit.time_seconds"] = lambda: plant.time

    def _add_lasers(self) -> None:
        for row, terminal in enumerate(self._plant.terminals.terminals):
            if terminal.satellite == self._index:
                self._add_laser(row, terminal.design.name)

    def _add_laser(self, row: int, name: str) -> None:
        terminals = self._plant.terminals
        self.gauges |= {
            f"laser.{name}.azimuth_radians": lambda: float(terminals.angle[0, row]),
            f"laser.{name}.elevation_radians": lambda: float(terminals.angle[1, row]),
            f"laser.{name}.received_watts": lambda: float(terminals.received_watts[row]),
            f"laser.{name}.error_azimuth_radians": lambda: float(terminals.error[0, row]),
            f"laser.{name}.error_elevation_radians": lambda: float(terminals.error[1, row]),
            f"laser.{name}.slewing": lambda: float(terminals.slewing[row]),
            f"laser.{name}.transmitting": lambda: float(terminals.transmitting[row]),
            f"laser.{name}.partner": lambda: float(terminals.partner[row] >= 0),
            f"laser.{name}.partner_azimuth_radians": lambda: float(terminals.line[0, row]),
            f"laser.{name}.partner_elevation_radians": lambda: float(terminals.line[1, row]),
        }

        def command(quantity: Array, value: float) -> None:
            quantity[row] = value
            terminals.commanded[row] = terminals.active = True

        def transmit(value: float) -> None:
            terminals.transmitting[row] = bool(value)

        quantities = {
            "azimuth_radians": terminals.command[0],
            "elevation_radians": terminals.command[1],
            "azimuth_rate": terminals.command_rate[0],
            "elevation_rate": terminals.command_rate[1],
            "at_seconds": terminals.command_time,
            "ahead_azimuth_radians": terminals.ahead[0],
            "ahead_elevation_radians": terminals.ahead[1],
        }
        for key, quantity in quantities.items():
            self._actuators[f"laser.{name}.{key}"] = (
                lambda value, quantity=quantity: command(quantity, value)  # type: ignore[misc]
            )
        self._actuators[f"laser.{name}.transmit"] = transmit
        self._actuators[f"fault.laser.{name}.mispointing_radians"] = lambda value: terminals.mispoint(row, value)

    def _add_links(self) -> None:
        plant, i = self._plant, self._index

        def outage(link: str, value: float) -> None:
            plant.outage[link][i] = bool(value)

        for link, state in self._links.items():
            self.gauges |= {
                f"link.{link}.up": lambda state=state: float(state().up),  # type: ignore[misc]
                f"link.{link}.rate_bits_per_second": (
                    lambda state=state: state().rate_bits_per_second  # type: ignore[misc]
                ),
                f"link.{link}.delay_seconds": lambda state=state: state().delay_seconds,  # type: ignore[misc]
            }
            self._actuators[f"fault.link.{link}.outage"] = (
                lambda value, link=link: outage(link, value)  # type: ignore[misc]
            )
