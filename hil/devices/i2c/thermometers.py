"""``i2c.tmp102``, ``i2c.tmp105``, ``i2c.tmp117``: thermometers of Texas Instruments, and the LM75 they descend from.

Settings beside those of every gauge: ``bus`` (1) and ``address`` (0x48). ``i2c.tmp105`` reads most of what is like an
LM75 (LM75A, LM75B, TMP75, TMP175, TMP275...) too, in as many bits as it has; not a TMP75C or ADT75, in which a bit of
the resolution is another one. Registers are those of the data sheets TMP102 (SBOS397), TMP105 (SBOS648), TMP117
(SNOSD82), and agree with the kernel's drivers/hwmon/tmp102.c and lm75.c, drivers/iio/temperature/tmp117.c.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Final

from flight.hal import DeviceEnvironment, DeviceError
from hil.devices.gauge import GAUGE_SETTINGS, Gauge
from hil.devices.host import host_of
from hil.devices.i2c.chip import Chip, ChipDriver, ChipFaultError, expect, signed
from hil.devices.options import Options

Settings = Mapping[str, object]

_TEMPERATURE: Final = 0x00
_CONFIGURATION: Final = 0x01

# TMP102: 12 bits, running, four conversions a second; the two resolution bits always read as 1.
_TMP102_CONFIGURATION: Final = 0x60A0
_TMP102_RESOLUTION: Final = 0x6000
# One byte: 12 bits instead of the 9 after power-on, running.
_TMP105_CONFIGURATION: Final = 0x60
# TMP117: running, a second per reading, which is 8 conversions averaged.
_TMP117_CONFIGURATION: Final = 0x0220
_TMP117_IDENTITY: Final = 0x0117
_TMP117_NOTHING_YET: Final = 0x8000


def celsius_of_lm75(register: int) -> float:
    """Temperature of a TMP102, TMP105 or LM75: two's complement, 1/256 degree, with 9 to 12 bits that count."""
    return signed(register, 16) / 256.0


def celsius_of_tmp117(register: int) -> float:
    """Temperature of a TMP117: two's complement, 1/128 degree."""
    return signed(register, 16) / 128.0


class Tmp102(ChipDriver):
    """TMP102: -40 to 125 degrees, 12 bits, no identity register but two bits that are always set."""

    def prepare(self) -> None:
        if self.chip.read_word(_CONFIGURATION) & _TMP102_RESOLUTION != _TMP102_RESOLUTION:
            problem = f"what answers as {self.chip.where} is no TMP102: bits 14 and 13 of its configuration are not 1; "
            raise ChipFaultError(errno.ENODEV, f"{problem}try i2c.tmp105 (LM75 and its like) or i2c.tmp117")
        self.chip.write_word(_CONFIGURATION, _TMP102_CONFIGURATION)

    def measure(self) -> float:
        return celsius_of_lm75(self.chip.read_word(_TEMPERATURE) & 0xFFF0)


class Tmp105(ChipDriver):
    """TMP105 and others like an LM75: 9 to 12 bits."""

    def prepare(self) -> None:
        # An LM75 ignores the resolution, and reads 0 where its register has no bits.
        self.chip.write_byte(_CONFIGURATION, _TMP105_CONFIGURATION)

    def measure(self) -> float:
        return celsius_of_lm75(self.chip.read_word(_TEMPERATURE))


class Tmp117(ChipDriver):
    """TMP117: -55 to 150 degrees, 16 bits, 0.1 degree without calibration."""

    def prepare(self) -> None:
        expect(self.chip, 0x0F, (_TMP117_IDENTITY,), mask=0x0FFF)
        self.chip.write_word(_CONFIGURATION, _TMP117_CONFIGURATION)

    def measure(self) -> float:
        register = self.chip.read_word(_TEMPERATURE)
        if register == _TMP117_NOTHING_YET:
            raise ChipFaultError(errno.EAGAIN, f"the {self.chip.where} has not measured since its reset; it will soon")
        return celsius_of_tmp117(register)


def _gauge(
    name: str,
    settings: Settings,
    environment: DeviceEnvironment,
    kind: type[ChipDriver],
    last_address: int,
    span: tuple[float, float],
) -> Gauge:
    options = Options(name, settings, ("bus", "address", *GAUGE_SETTINGS))
    bus = options.whole("bus", 1, 0, 255)
    address = options.whole("address", 0x48, 0x48, last_address)
    driver = kind(Chip(kind.__name__.upper(), host_of(environment), bus, address))
    try:
        driver.begin()
    except DeviceError as error:
        raise DeviceError(f"{name}: {error}") from error
    return Gauge(name, driver.sample, settings, environment, "°C", span, bus=f"i2c-{bus}")


def tmp102(name: str, settings: Settings, environment: DeviceEnvironment) -> Gauge:
    """Entry point ``i2c.tmp102``: addresses 0x48 to 0x4b."""
    return _gauge(name, settings, environment, Tmp102, 0x4B, (-55.0, 128.0))


def tmp105(name: str, settings: Settings, environment: DeviceEnvironment) -> Gauge:
    """Entry point ``i2c.tmp105``: addresses 0x48 to 0x4f."""
    return _gauge(name, settings, environment, Tmp105, 0x4F, (-55.0, 128.0))


def tmp117(name: str, settings: Settings, environment: DeviceEnvironment) -> Gauge:
    """Entry point ``i2c.tmp117``: addresses 0x48 to 0x4b."""
    return _gauge(name, settings, environment, Tmp117, 0x4B, (-55.0, 150.0))
