"""``linux.power_supply``: a battery that the kernel knows, of a laptop or a UPS board, as the satellite's battery.

Kernel documentation, power/power_supply_class.rst: microvolts, microamperes, tenths of a degree Celsius. Some drivers
give the current a sign, others do not and leave it to ``status``; some give ``power_now`` in place of ``current_now``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flight.hal import BatteryState, DeviceEnvironment, DeviceError, Quality, Reading
from hil.devices.gauge import Gauge
from hil.devices.host import Host, explain, host_of
from hil.devices.options import Options
from hil.devices.sysfs import NumberFile, absent, entries, read_text, text_or

CLASS = "/sys/class/power_supply"
VOLTS_SPAN = (0.5, 100.0)
AMPERES_SPAN = (-200.0, 200.0)
CELSIUS_SPAN = (-40.0, 90.0)
# Taken where the battery has no thermometer.
ASSUMED_CELSIUS = 25.0


def batteries(host: Host) -> list[Path]:
    """Batteries of the computer itself; those of a mouse or a headset are none (``scope``)."""
    return [
        entry
        for entry in entries(host, CLASS)
        if text_or(entry / "type", "") == "Battery" and text_or(entry / "scope", "System") == "System"
    ]


def find_battery(host: Host, supply: str) -> Path:
    """The battery of a name, or the only one. Raises FileNotFoundError, or DeviceError when there are several."""
    there = batteries(host)
    found = [path for path in there if supply in ("", path.name)]
    known = ", ".join(path.name for path in there) or "none"
    if not found:
        raise absent(f"the battery {supply}".rstrip() + f" (here: {known})", "is this a machine with a battery?")
    if len(found) > 1:
        raise DeviceError(f'there are several batteries; say which by the setting "supply": {known}')
    return found[0]


class _Current:
    """Amperes, positive when it charges."""

    def __init__(self, host: Host, supply: str) -> None:
        self._host = host
        self._supply = supply
        path = find_battery(host, supply)
        kind = "current_now" if (path / "current_now").exists() else "power_now"
        self._flow = NumberFile(lambda: find_battery(host, supply) / kind, 1e-6)
        self._volts = NumberFile(lambda: find_battery(host, supply) / "voltage_now", 1e-6)
        self._is_power = kind == "power_now"

    def __call__(self) -> float:
        flow = self._flow()
        if self._is_power:
            flow /= self._volts()
        status = read_text(find_battery(self._host, self._supply) / "status")
        if status == "Discharging":
            return -abs(flow)
        return abs(flow) if status == "Charging" else flow


class PowerSupply:
    """Satisfies Battery of :mod:`flight.hal`."""

    def __init__(self, options: Options, settings: Mapping[str, object], environment: DeviceEnvironment) -> None:
        name = options.name
        host, supply = host_of(environment), options.text("supply", "")
        scale, voltage_scale = options.number("scale", 1.0), options.number("voltage_scale", 1.0, 1e-6)
        common = {key: settings[key] for key in ("timeout_seconds",) if key in settings}
        try:
            path = find_battery(host, supply)
            current = _Current(host, supply)
        except OSError as error:
            raise DeviceError(f"{name}: {explain(error)}") from error
        volts = NumberFile(lambda: find_battery(host, supply) / "voltage_now", 1e-6)
        self.name = name
        self._volts = Gauge(name, volts, {**common, "scale": voltage_scale}, environment, "V", VOLTS_SPAN)
        # Watts are scaled by ``scale``: what volts take of it is not left for amperes.
        amperes_scale = {**common, "scale": scale / voltage_scale}
        self._amperes = Gauge(name, current, amperes_scale, environment, "A", AMPERES_SPAN)
        self._celsius: Gauge | None = None
        self.how = f"power supply {path.name}"
        if (path / "temp").exists():
            celsius = NumberFile(lambda: find_battery(host, supply) / "temp", 0.1)
            self._celsius = Gauge(name, celsius, common, environment, "°C", CELSIUS_SPAN)
        else:
            self.how += f", which has no thermometer: {ASSUMED_CELSIUS:g} °C is assumed"

    async def read(self) -> Reading[BatteryState]:
        """Measure the battery; a value that cannot be trusted makes the whole reading so."""
        parts = [await self._volts.read(), await self._amperes.read()]
        if self._celsius is not None:
            parts.append(await self._celsius.read())
        worst = max(parts, key=lambda part: _ORDER.index(part.quality))
        celsius = parts[2].value if self._celsius is not None else ASSUMED_CELSIUS
        state = BatteryState(parts[0].value, parts[1].value, celsius)
        oldest = min(part.mission_time_seconds for part in parts)
        return Reading(state, oldest, worst.quality, worst.problem)

    async def close(self) -> None:
        """Let go of the files."""
        for gauge in (self._volts, self._amperes, self._celsius):
            if gauge is not None:
                await gauge.close()


_ORDER = (Quality.GOOD, Quality.STALE, Quality.ABSENT)


def battery(name: str, settings: Mapping[str, object], environment: DeviceEnvironment) -> PowerSupply:
    """Entry point ``linux.power_supply``.

    Settings: supply ("BAT0"; the only one by default), scale (satellite watts for one real watt), voltage_scale
    (satellite volts for one real volt), timeout_seconds.
    """
    options = Options(name, settings, ("supply", "scale", "voltage_scale", "timeout_seconds"))
    return PowerSupply(options, settings, environment)
