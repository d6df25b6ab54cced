"""``linux.one_wire``: a DS18B20 thermometer on a 1-Wire bus.

Kernel documentation, w1/slaves/w1_therm.rst: ``w1_slave`` holds the nine bytes of the scratchpad twice, whether their
CRC is right, and thousandths of a degree Celsius. A conversion takes up to 750 ms (datasheet DS18B20, 12 bits), so the
thread of the bus waits for it.

Three readings are none: a wrong CRC; 85 °C right after power-on, told from a true one by byte 6 of the scratchpad,
which is 0x0C until the first conversion (drivers/w1/slaves/w1_therm.c, which looks for it where it is told to); and a
scratchpad of zeros, which a short circuit sends and whose CRC is right. A conversion that failed for want of power is
127.94 °C, beyond the span.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from flight.hal import DeviceEnvironment, DeviceError
from hil.devices.gauge import GAUGE_SETTINGS, Gauge
from hil.devices.host import Host, host_of
from hil.devices.options import Options
from hil.devices.sysfs import absent, entries, read_text

DEVICES = "/sys/bus/w1/devices"
# DS18S20, DS1822, DS18B20, MAX31850, DS28EA00: the first byte of the address.
FAMILIES = ("10-", "22-", "28-", "3b-", "42-")
SPAN = (-55.0, 125.0)
CONVERSION_TIMEOUT_SECONDS = 2.0
_POWER_ON_MILLIDEGREES = 85_000
_POWER_ON_RESERVED = 0x0C
_TEMPERATURE = re.compile(r"t=(-?\d+)")


def thermometers(host: Host) -> list[Path]:
    """Thermometers on all 1-Wire buses."""
    return [entry for entry in entries(host, DEVICES) if entry.name.startswith(FAMILIES)]


def find_thermometer(host: Host, address: str) -> Path:
    """The thermometer of an address, or the only one. Raises FileNotFoundError, or DeviceError for several."""
    there = thermometers(host)
    found = [path for path in there if address in ("", path.name)]
    known = ", ".join(path.name for path in there) or "none"
    if not found:
        remedy = "look at its wiring, and whether the bus is on (Raspberry Pi: dtoverlay=w1-gpio in config.txt)"
        raise absent(f"the 1-Wire thermometer {address}".rstrip() + f" (here: {known})", remedy)
    if len(found) > 1:
        raise DeviceError(f'there are several 1-Wire thermometers; say which by the setting "device": {known}')
    return found[0]


def celsius(content: str) -> float:
    """Degrees Celsius of a ``w1_slave``. Raises ValueError when it holds no temperature that is to be believed."""
    match = _TEMPERATURE.search(content)
    try:
        scratchpad = [int(byte, 16) for byte in content.split(":", 1)[0].split()]
    except ValueError:
        scratchpad = []
    if match is None or len(scratchpad) != 9:
        raise ValueError(f"the thermometer sent {content[:40]!r}, which is no temperature")
    if " YES" not in content:
        raise ValueError("the thermometer's CRC is wrong; look at the cable and the pull-up of 4.7 kOhm")
    if not any(scratchpad):
        raise ValueError("the thermometer sent only zeros: the data line is shorted to ground")
    millidegrees = int(match[1])
    if millidegrees == _POWER_ON_MILLIDEGREES and scratchpad[6] == _POWER_ON_RESERVED:
        raise ValueError("the thermometer restarted and has not measured yet (85 °C); look at its supply")
    return millidegrees / 1000.0


def temperature(name: str, settings: Mapping[str, object], environment: DeviceEnvironment) -> Gauge:
    """Entry point ``linux.one_wire``. Settings: device ("28-0316a2790c42"; the only one by default), a gauge's."""
    options = Options(name, settings, ("device", *GAUGE_SETTINGS))
    address = options.text("device", "")
    host = host_of(environment)

    def sample() -> float:
        return celsius(read_text(find_thermometer(host, address) / "w1_slave"))

    patient = {"timeout_seconds": CONVERSION_TIMEOUT_SECONDS, **settings}
    return Gauge(name, sample, patient, environment, "°C", SPAN, bus="one-wire", how="DS18B20 on 1-Wire")
