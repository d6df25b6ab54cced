"""The physical world of a constellation: one step at a time, all satellites at once.

Electricity: the array offers what its light and temperature allow; consumers draw what they draw; the battery takes or
gives the difference. What the battery cannot take, the array does not deliver. What it cannot give browns the bus out:
switches of all sheddable loads fall open and stay so until the battery has recovered and somebody closes them.

Heat: all electricity ends as heat on a thermal node. Over any run, to rounding,

    absorbed = radiated + change of heat stored + change of battery energy.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hil.plant import array, layout
from hil.plant.battery import Batteries
from hil.plant.constants import ZERO_CELSIUS
from hil.plant.frames import Array
from hil.plant.geometry import Block, Geometry
from hil.plant.loads import Loads
from hil.plant.memory import State
from hil.plant.ports import Ports
from hil.plant.snapshot import Snapshot
from hil.plant.terminals import Terminals, terminals_of
from hil.plant.thermal import ThermalNetwork
from skyrack.backhaul import LinkState
from skyrack.orbits import relay_satrecs, satellite_satrec
from skyrack.satellite import ConstellationFile, SatelliteFile

RECOVERY_RATIO = 0.02  # of the capacity above the floor: switches can be closed again
SHORTFALL_WATTS = 1e-6
LINKS = ("optical", "antenna")


class Plant:
    """Everything that is true, and nothing that is believed."""

    def __init__(
        self,
        constellation: ConstellationFile,
        satellites: Mapping[str, SatelliteFile],
        start_time: float | None = None,
        rng: np.random.Generator | int = 0,
    ) -> None:
        """Set up at ``start_time`` (mission time; the constellation's own start when absent).

        Raises:
            OrbitError: an orbit makes no sense.
        """
        self.time = constellation.epoch_seconds + constellation.start_seconds if start_time is None else start_time
        named = [(satellite.name, satellites[satellite.name]) for satellite in constellation.satellites]
        designs = [design for _, design in named]
        self.layouts = layout.layouts(named)
        self.names = tuple(name for name, _ in named)
        self._index = {name: i for i, name in enumerate(self.names)}
        satrecs = [satellite_satrec(constellation, name) for name in self.names]
        self.geometry = Geometry(satrecs, named, constellation.stations)

        columns = max(len(satellite.nodes) for satellite in self.layouts)
        kelvin = np.array([[design.thermal.initial_celsius + ZERO_CELSIUS] * columns for design in designs])
        self.pump_duty = np.ones(len(designs))
        self.pump_stopped = np.zeros(len(designs), dtype=bool)
        self.thermal = ThermalNetwork(
            layout.heat_capacities(self.layouts, columns),
            np.stack([layout.conductances(satellite, columns, 1.0) for satellite in self.layouts]),
            layout.radiances(self.layouts, columns),
            kelvin,
        )
        battery = layout.battery_design(designs)
        charge = np.array([design.battery.initial_state_of_charge_ratio for design in designs])
        self.batteries = Batteries(battery, battery.capacity_joules * charge)
        self._recovered_joules = battery.floor_joules + RECOVERY_RATIO * battery.capacity_joules
        self._array_coefficient = np.array([design.array.temperature_coefficient_per_kelvin for design in designs])

        self.loads = Loads(self.layouts, columns)
        generator = rng if isinstance(rng, np.random.Generator) else np.random.default_rng(rng)
        self.terminals = Terminals(
            [terminal for satellite in self.layouts for terminal in terminals_of(satellite)],
            relay_satrecs(constellation),
            generator,
        )
        self.antenna_rate = np.array([design.antenna.rate_bits_per_second for design in designs])
        self.outage = {link: np.zeros(len(designs), dtype=bool) for link in LINKS}

        count = len(designs)
        self.array_watts, self.load_watts = np.zeros(count), self.loads.total_watts
        self.undervoltage = np.zeros(count, dtype=bool)
        self.brownouts = np.zeros(count, dtype=np.int64)
        self._any_undervoltage = False
        self._absorbed_joules, self._radiated_joules = np.zeros(count), np.zeros((count, columns))
        self._initial_joules = self.stored_joules()
        self._ports: dict[str, Ports] = {}
        self.begin_at(self.time)

    def begin_at(self, time_seconds: float) -> None:
        """Go to a mission time, whatever happens on the way; everything but the sky stays as it is."""
        self.time = time_seconds
        self._step_seconds = np.nan
        self._row = -1
        self._block_start = time_seconds - 1.0
        self._block = self.geometry.block(self._block_start, 1.0, 1)

    def step(self, step_seconds: float = 1.0) -> None:
        """Let the world go on for one step; constant steps are cheap, a new length costs a new look at the sky."""
        self._row += 1
        if step_seconds != self._step_seconds or self._row == len(self._block.times):
            self._new_block(step_seconds)
        block, row = self._block, self._row
        self.load_watts, load_heat = self.loads.draw()
        temperature = self.thermal.temperature
        available = array.power(block.array_light_watts[row], temperature[:, layout.ARRAY], self._array_coefficient)
        offered = available - self.load_watts
        power, loss = self.batteries.step(offered, step_seconds)
        gap = offered - power
        self.array_watts = available - np.maximum(gap, 0.0)
        heat = load_heat.copy()
        if np.minimum.reduce(gap) < -SHORTFALL_WATTS:
            self._brown_out(gap, heat)
        elif self._any_undervoltage:
            self.undervoltage &= self.batteries.energy_joules < self._recovered_joules
            self._any_undervoltage = bool(self.undervoltage.any())
        heat[:, layout.RADIATOR] += block.radiator_heat_watts[row]
        heat[:, layout.ARRAY] += block.array_heat_watts[row] - self.array_watts
        heat[:, layout.BATTERY] += loss
        radiated = self.thermal.step(heat, step_seconds)
        radiated *= step_seconds
        self._radiated_joules += radiated
        self._absorbed_joules += block.absorbed_joules[row]
        self.time = float(block.times[row])
        terminals = self.terminals
        if terminals.active:
            powered = self.loads.closed[terminals.satellite, terminals.consumer]
            terminals.step(self.geometry, block, row, step_seconds, powered)

    def state(self) -> State:
        """All that the future depends on, but for what is asked of the plant from now on."""
        return State(
            mission_time_seconds=self.time,
            block_start_seconds=self._block_start,
            step_seconds=self._step_seconds,
            row=self._row,
            generator=json.dumps(self.terminals.rng.bit_generator.state),
            device_faults={name: dict(self.device_faults(name)) for name in self.names},
            arrays={key: array.copy() for key, array in self._arrays().items()},
        )

    def restore(self, state: State) -> None:
        """Go on from a state, to the last bit; for a plant of the same constellation to which nothing happened yet.

        Raises:
            StateError: it is not this plant's state; the plant is as it was.
        """
        state.copy_to(self._arrays())
        self.terminals.rng.bit_generator.state = json.loads(state.generator)
        self.terminals.active = bool(self.terminals.commanded.any())
        for name, faults in state.device_faults.items():
            self.ports(name).device_faults.update(faults)
        for index in range(len(self.names)):
            self.set_pump(index)
        self.loads.draw()
        self._any_undervoltage = bool(self.undervoltage.any())
        if state.row < 0:
            self.begin_at(state.mission_time_seconds)
            return
        # set_pump() has made all stale: what was linearised before is again.
        self.thermal.restored(state.step_seconds, state.arrays["thermal.stale"])
        self.time = state.block_start_seconds
        self._new_block(state.step_seconds)
        self._row = state.row
        self.time = state.mission_time_seconds

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            **self.batteries.arrays(),
            **self.thermal.arrays(),
            **self.loads.arrays(),
            **self.terminals.arrays(),
            "pump.duty_ratio": self.pump_duty,
            "bus.undervoltage": self.undervoltage,
            "bus.brownouts": self.brownouts,
            "bus.array_watts": self.array_watts,
            "bus.load_watts": self.load_watts,
            "sum.absorbed_joules": self._absorbed_joules,
            "sum.radiated_joules": self._radiated_joules,
            "sum.initial_joules": self._initial_joules,
            "fault.pump_stopped": self.pump_stopped,
            **{f"fault.outage.{link}": outage for link, outage in self.outage.items()},
        }

    # Truth.

    @property
    def block_row(self) -> tuple[Block, int]:
        """What the sky does now: a block of steps and the row of the last one."""
        return self._block, max(self._row, 0)

    @property
    def absorbed_joules(self) -> Array:
        """Sunlight, earthshine and Earth's infrared taken in since the start, per satellite."""
        return self._absorbed_joules

    def stored_joules(self) -> Array:
        """Heat (above absolute zero) and battery energy per satellite, J."""
        stored: Array = self.thermal.stored_joules() + self.batteries.energy_joules
        return stored

    def energy_error_joules(self) -> Array:
        """Absorbed less radiated less gain of the store, per satellite: zero but for rounding."""
        gained = self.stored_joules() - self._initial_joules
        error: Array = self._absorbed_joules - self._radiated_joules.sum(axis=1) - gained
        return error

    def link(self, satellite: str, link: str) -> LinkState:
        """The satellite's "optical" or "antenna" link as it truly is.

        Raises:
            PlantKeyError: no such satellite or link.
        """
        return self.ports(satellite).link(link)

    def snapshot(self) -> Snapshot:
        """Truth for pictures."""
        block, row = self.block_row
        return Snapshot(
            mission_time_seconds=self.time,
            names=self.names,
            position_meters=block.position[row].copy(),
            sunlit_ratio=block.sunlit_ratio[row].copy(),
            state_of_charge_ratio=self.batteries.state_of_charge(),
            array_watts=self.array_watts.copy(),
            load_watts=self.load_watts.copy(),
            radiator_celsius=self.thermal.temperature[:, layout.RADIATOR] - ZERO_CELSIUS,
        )

    # Sensors and actuators.

    def read(self, satellite: str, key: str) -> float:
        """One sensor's truth.

        Raises:
            PlantKeyError: no such satellite or sensor.
        """
        return self.ports(satellite).read(key)

    def sensors(self, satellite: str) -> dict[str, float]:
        """All sensors of a satellite."""
        return self.ports(satellite).sensors()

    def device_faults(self, satellite: str) -> dict[str, float]:
        """Faults for the satellite's devices to show, by ``<device>.<fault>``; the plant only hands them on."""
        return self.ports(satellite).device_faults

    def actuate(self, satellite: str, key: str, value: float) -> None:
        """Set an actuator, or a fault (keys that begin with ``fault.``).

        Raises:
            PlantKeyError: no such satellite or actuator.
        """
        self.ports(satellite).actuate(key, value)

    def set_pump(self, index: int) -> None:
        """Let the coolant flow as duty and faults say."""
        duty = 0.0 if self.pump_stopped[index] else float(self.pump_duty[index])
        satellite = self.layouts[index]
        self.loads.demand_watts[index, layout.PUMP] = (
            satellite.consumers[layout.PUMP].watts * duty**layout.PUMP_POWER_EXPONENT
        )
        columns = self.thermal.heat_capacity.shape[1]
        self.thermal.set_conductance(index, layout.conductances(satellite, columns, duty))
        self.loads.changed()

    def ports(self, satellite: str) -> Ports:
        """Sensors and actuators of a satellite. Raises PlantKeyError when there is no such satellite."""
        port = self._ports.get(satellite)
        if port is None:
            port = self._ports[satellite] = Ports.of(self, satellite, self._index)
        return port

    def _new_block(self, step_seconds: float) -> None:
        self._step_seconds = step_seconds
        self._block_start = self.time
        self._block = self.geometry.block(self.time, step_seconds)
        self._row = 0
        self.terminals.begin_block(self.geometry, self._block)

    def _brown_out(self, gap: Array, heat: Array) -> None:
        short = gap < -SHORTFALL_WATTS
        served = 1.0 + gap[short] / self.load_watts[short]
        heat[short] *= served[:, np.newaxis]
        self.brownouts += short & ~self.undervoltage
        self.undervoltage |= short
        self._any_undervoltage = True
        self.loads.shed(short)
