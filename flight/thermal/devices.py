"""The thermal system's devices: thermometers, pump, heaters."""

from __future__ import annotations

from flight.devices import DeviceRegistry
from flight.hal import DeviceError, Heater, Pump, TemperatureSensor
from flight.thermal.control import Thermostat
from flight.thermal.network import COMMON_NODES
from skyrack.satellite import SatelliteFile

_STALLED_RATIO = 0.5
_STEP_RATIO = 0.02
_TOLERANCE_RATIO = 0.1
_STALL_PATIENCE_SECONDS = 5.0


class Thermometers:
    """Sensors of all nodes.

    Raises:
        DeviceError: on construction, when a driver is missing.
    """

    def __init__(self, devices: DeviceRegistry, satellite: SatelliteFile) -> None:
        names = (*COMMON_NODES, *(node.name for node in satellite.nodes))
        self._sensors: list[tuple[str, TemperatureSensor]] = [(name, devices.get(f"thermal.{name}")) for name in names]

    async def read(self) -> dict[str, float | None]:
        """Temperatures by node, degrees Celsius; ``None`` where there is no good reading."""
        found: dict[str, float | None] = {}
        for name, sensor in self._sensors:
            reading = await sensor.read()
            found[name] = reading.value if reading.good else None
        return found


class PumpDrive:
    """The pump: commanded duty, and whether it follows."""

    def __init__(self, devices: DeviceRegistry) -> None:
        self._pump: Pump = devices.get("pump")
        self._commanded = 0.0
        self._lagging_since: float | None = None
        self.duty_ratio = 0.0
        # What it said, None without an answer, and what it was told before.
        self.measured_ratio: float | None = None
        self.commanded_ratio = 0.0
        self.stalled = False

    async def read(self, now: float) -> None:
        """Read the duty that the pump runs at; without an answer the commanded one is taken."""
        reading = await self._pump.read_duty()
        self.measured_ratio = reading.value if reading.good else None
        self.commanded_ratio = self._commanded
        self.duty_ratio = reading.value if reading.good else self._commanded
        if self.duty_ratio >= _STALLED_RATIO * self._commanded:
            self._lagging_since, self.stalled = None, False
            return
        if self._lagging_since is None:
            self._lagging_since = now
        self.stalled = now - self._lagging_since >= _STALL_PATIENCE_SECONDS

    async def command(self, duty_ratio: float) -> None:
        """Set the duty, in steps that a pump can feel; again where it does not do as it was told."""
        moved = abs(duty_ratio - self._commanded) >= _STEP_RATIO or duty_ratio in {0.0, 1.0}
        if moved:
            self._commanded = duty_ratio
        if abs(self.duty_ratio - self._commanded) > _TOLERANCE_RATIO or (moved and self.duty_ratio != duty_ratio):
            await self._pump.set_duty(self._commanded)


class Heaters:
    """All heaters, each with its thermostat."""

    def __init__(self, devices: DeviceRegistry, satellite: SatelliteFile) -> None:
        self._heaters: list[tuple[str, Heater, Thermostat]] = [
            (heater.node, devices.get(f"heater.{heater.name}"), Thermostat()) for heater in satellite.heaters
        ]
        self.watts: dict[str, float] = {}
        self.failures: list[DeviceError] = []
        """What could not be switched in the last step."""

    async def step(self, celsius: dict[str, float], on_below_celsius: float) -> None:
        """Switch by the nodes' temperatures, and read what is on (``watts`` by node)."""
        self.watts = {}
        self.failures = []
        for node, heater, thermostat in self._heaters:
            wanted = thermostat.step(celsius[node], on_below_celsius)
            state = await heater.is_on()
            if not state.good or state.value != wanted:
                try:
                    await heater.set_on(wanted)
                except DeviceError as error:
                    # One that is gone must not keep the others from being switched.
                    self.failures.append(error)
                    continue
            if wanted:
                self.watts[node] = self.watts.get(node, 0.0) + heater.watts
