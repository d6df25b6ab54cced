"""What the shipped drivers are, without importing them: what each gives, and where two of them would clash.

A bench file is checked on a computer that has none of its hardware, and perhaps none of its libraries.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class Part(enum.Enum):
    """What a device does: the protocols of :mod:`flight.hal`, in words for people."""

    METER = "a power meter"
    THERMOMETER = "a thermometer"
    LIGHT = "a light meter"
    SPEED = "a speed of rotation"
    THROTTLE = "a throttle"
    SWITCH = "a load switch"
    HEATER = "a heater"
    PUMP = "a pump or fan"
    BATTERY = "a battery monitor"
    MONITOR = "a board's own protection"
    GNSS = "a GNSS receiver"
    LASER = "a laser terminal"
    ANTENNA = "an antenna"
    NODE = "a rack node"


MEASURES = frozenset({Part.METER, Part.THERMOMETER, Part.LIGHT, Part.SPEED})

# What a device may be, by the kind in its name. The first row are devices that flight software asks for.
ROLES: Mapping[str, frozenset[Part]] = {
    "battery": frozenset({Part.BATTERY}),
    "array": frozenset({Part.METER, Part.LIGHT}),
    "load": frozenset({Part.SWITCH}),
    "thermal": frozenset({Part.THERMOMETER}),
    "pump": frozenset({Part.PUMP}),
    "heater": frozenset({Part.HEATER}),
    "gnss": frozenset({Part.GNSS}),
    "laser": frozenset({Part.LASER}),
    "antenna": frozenset({Part.ANTENNA}),
    "node": frozenset({Part.NODE}),
}
# These serve other devices and guards.
HELPERS: Mapping[str, frozenset[Part]] = {
    "meter": frozenset({Part.METER}),
    "throttle": frozenset({Part.THROTTLE}),
    "sensor": MEASURES,
    "monitor": frozenset({Part.MONITOR}),
    "switch": frozenset({Part.SWITCH}),
    "fan": frozenset({Part.PUMP, Part.SPEED}),
}

PARTS: Mapping[str, Part] = {
    "simulated.battery": Part.BATTERY,
    "simulated.array": Part.METER,
    "simulated.load_switch": Part.SWITCH,
    "simulated.temperature": Part.THERMOMETER,
    "simulated.pump": Part.PUMP,
    "simulated.heater": Part.HEATER,
    "simulated.gnss": Part.GNSS,
    "simulated.laser": Part.LASER,
    "simulated.antenna": Part.ANTENNA,
    "process.rack_node": Part.NODE,
    "model.rack_node": Part.NODE,
    "board.rack_node": Part.NODE,
    "remote.rack_node": Part.NODE,
    "board.cpu_meter": Part.METER,
    "linux.hwmon_power": Part.METER,
    "linux.hwmon_temperature": Part.THERMOMETER,
    "linux.hwmon_fan": Part.PUMP,
    "linux.thermal_zone": Part.THERMOMETER,
    "linux.powercap": Part.METER,
    "linux.powercap_limit": Part.THROTTLE,
    "linux.cpufreq": Part.THROTTLE,
    "linux.power_supply": Part.BATTERY,
    "linux.one_wire": Part.THERMOMETER,
    "raspberry_pi.firmware": Part.MONITOR,
    "raspberry_pi.pmic": Part.METER,
    "jetson.rail": Part.METER,
    "jetson.gpu_frequency": Part.THROTTLE,
    "jetson.power_mode": Part.THROTTLE,
    "nvidia.meter": Part.METER,
    "nvidia.temperature": Part.THERMOMETER,
    "nvidia.power_limit": Part.THROTTLE,
    "i2c.ina219": Part.METER,
    "i2c.ina226": Part.METER,
    "i2c.ina228": Part.METER,
    "i2c.ina3221": Part.METER,
    "i2c.tmp102": Part.THERMOMETER,
    "i2c.tmp105": Part.THERMOMETER,
    "i2c.tmp117": Part.THERMOMETER,
    "i2c.thermistor": Part.THERMOMETER,
    "i2c.photodiode": Part.LIGHT,
    "gpio.load_switch": Part.SWITCH,
    "gpio.heater": Part.HEATER,
    "pwm.pump": Part.PUMP,
    "pwm.heater": Part.HEATER,
    "gimbal.laser": Part.LASER,
}

# What the satellite feels of these is watts: they count in the satellite's, by the board's scale.
SCALED_KINDS = frozenset({"load", "node", "array", "battery"})
# What is simulated counts in the satellite's watts already; a node that is elsewhere says itself what it draws.
UNSCALED_ROOMS = ("simulated.", "process.", "model.", "remote.")

# Settings that name another device of the board, and what that must be.
REFERENCES: Mapping[str, frozenset[Part]] = {
    "meter": frozenset({Part.METER}),
    "throttle": frozenset({Part.THROTTLE}),
    "thermometer": frozenset({Part.THERMOMETER}),
    "monitor": frozenset({Part.MONITOR}),
    "switch": frozenset({Part.SWITCH}),
    "tachometer": frozenset({Part.SPEED, Part.PUMP}),
}

# Chips whose channels are devices of their own.
_CHIPS = {"i2c.thermistor": "ADS1115", "i2c.photodiode": "ADS1115"}

# Seven-bit addresses that the I2C specification leaves to devices (UM10204, 3.1.12).
FIRST_ADDRESS, LAST_ADDRESS = 0x08, 0x77

# What boards of a kind draw at their peak, W: least and most plausible. A Pi 3 to a Pi 5 with a hat; an Orin Nano in
# 7 W mode to an AGX Orin in its 60 W mode; from a mini PC to a rack server.
PEAK_WATTS: Mapping[str, tuple[float, float]] = {
    "raspberry-pi": (4.0, 27.0),
    "jetson": (5.0, 75.0),
    "computer": (2.0, 2000.0),
}


@dataclass(frozen=True, slots=True)
class Seat:
    """A place in the hardware that only one can have: an address on a bus, a line of a chip."""

    place: str
    occupant: str


def seats_of(driver: str, settings: Mapping[str, float | int | str | bool]) -> Sequence[Seat]:
    """Places that a device takes. Two devices may share one only as the same occupant, such as two channels."""
    seats: list[Seat] = []
    bus, address = settings.get("bus", 1), settings.get("address")
    if driver.startswith("i2c.") and isinstance(bus, int) and isinstance(address, int):
        chip = _CHIPS.get(driver, driver.removeprefix("i2c.").upper())
        seats.append(Seat(f"address 0x{address:02x} on i2c-{bus}", chip))
    for key, chip in (("servo_address", "PCA9685"), ("converter_address", "ADS1115")):
        place = settings.get(key)
        if isinstance(bus, int) and isinstance(place, int):
            seats.append(Seat(f"address 0x{place:02x} on i2c-{bus}", chip))
    line = settings.get("line")
    if driver.startswith("gpio.") and isinstance(line, int | str):
        seats.append(Seat(f"line {line} of {settings.get('chip', 'gpiochip0')}", ""))
    channel = settings.get("channel")
    if driver.startswith("pwm.") and isinstance(channel, int):
        seats.append(Seat(f"channel {channel} of {settings.get('chip', 'pwmchip0')}", ""))
    return seats
