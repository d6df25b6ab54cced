"""``linux.thermal_zone``: a temperature of the kernel's thermal framework, chosen by its type.

Types are names such as "cpu-thermal" (Raspberry Pi), "tj-thermal" (Jetson Orin), "x86_pkg_temp". Kernel documentation,
driver-api/thermal/sysfs-api.rst: ``temp`` is in thousandths of a degree Celsius.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flight.hal import DeviceEnvironment, DeviceError
from hil.devices.gauge import GAUGE_SETTINGS, Gauge
from hil.devices.host import Host, host_of
from hil.devices.options import Options
from hil.devices.sysfs import NumberFile, absent, entries, text_or

CLASS = "/sys/class/thermal"
SPAN = (-40.0, 125.0)


def zones(host: Host) -> list[tuple[str, Path]]:
    """Type and directory of every zone."""
    return [
        (text_or(entry / "type", ""), entry)
        for entry in entries(host, CLASS)
        if entry.name.startswith("thermal_zone") and (entry / "temp").exists()
    ]


def find_zone(host: Host, kind: str, index: int = 0) -> Path:
    """The zone of a type, the ``index``-th of several; without a type the only one.

    Raises:
        FileNotFoundError: there is none.
        DeviceError: no type was said, and there are several.
    """
    there = zones(host)
    found = [path for name, path in there if kind in ("", name)]
    known = ", ".join(dict.fromkeys(name for name, _ in there)) or "none"
    if index >= len(found):
        raise absent(f"the thermal zone {kind or index} (here: {known})")
    if not kind and len(found) > 1:
        raise DeviceError(f'there are several thermal zones; say which by the setting "zone": {known}')
    return found[index]


def temperature(name: str, settings: Mapping[str, object], environment: DeviceEnvironment) -> Gauge:
    """Entry point ``linux.thermal_zone``. Settings: zone (its type), index among those of one type, and a gauge's."""
    options = Options(name, settings, ("zone", "index", *GAUGE_SETTINGS))
    zone, index = options.text("zone", ""), options.whole("index", 0, 0, 99)
    host = host_of(environment)
    sample = NumberFile(lambda: find_zone(host, zone, index) / "temp", 1e-3)
    return Gauge(name, sample, settings, environment, "°C", SPAN, how=f"thermal zone {zone}".rstrip())
