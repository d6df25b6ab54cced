"""Reads battery, array and load switches in one go, and keeps what was last good of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flight.devices import DeviceRegistry
from flight.hal import Battery, BatteryState, LoadSwitch, Quality, Reading, SolarArray
from flight.power.protection import LoadReading


@dataclass(slots=True)
class Readings:
    """One second's measurements; ``battery`` and ``array_watts`` are ``None`` where the meter did not answer."""

    battery: BatteryState | None = None
    array_watts: float | None = None
    loads: dict[str, LoadReading] = field(default_factory=dict)


class Meters:
    """The power system's devices.

    Raises:
        DeviceError: on construction, when a driver is missing.
    """

    def __init__(self, devices: DeviceRegistry, load_names: Sequence[str]) -> None:
        self._battery: Battery = devices.get("battery")
        self._array: SolarArray = devices.get("array")
        self.switches: Mapping[str, LoadSwitch] = {name: devices.get(f"load.{name}") for name in load_names}
        self._last = {name: LoadReading(0.0, closed=False, fresh=False) for name in load_names}

    async def read(self) -> Readings:
        """Read everything; a silent load switch keeps its last values, marked as not fresh."""
        battery = await self._battery.read()
        array = await self._array.read()
        for name, switch in self.switches.items():
            watts = await switch.read_watts()
            closed = await switch.is_closed()
            if watts.quality is Quality.GOOD and closed.quality is Quality.GOOD:
                self._last[name] = LoadReading(watts.value, closed.value)
            elif self._last[name].fresh:
                last = self._last[name]
                self._last[name] = LoadReading(last.watts, last.closed, fresh=False)
        return Readings(_good(battery), _good_watts(array), self._last)


def _good(reading: Reading[BatteryState]) -> BatteryState | None:
    return reading.value if reading.quality is Quality.GOOD else None


def _good_watts(reading: Reading[float]) -> float | None:
    if reading.quality is not Quality.GOOD or not math.isfinite(reading.value):
        return None
    # In the dark a noisy meter reads under nothing.
    return max(0.0, reading.value)
