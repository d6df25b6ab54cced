"""Chips at the level of their registers, behind the names of smbus2.

Each models what the data sheet says of the electronics: a voltage over a shunt becomes bits, bits become a current by
the calibration that was written. Registers are bytes as they go over the wire, most significant first.
"""

from __future__ import annotations

import errno
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field


class Chip:
    """Registers; ``widths`` says which are not two bytes wide."""

    widths: dict[int, int] = {}  # noqa: RUF012 - a table of the class

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Power-on."""

    def get(self, register: int) -> int:
        raise NotImplementedError

    def put(self, register: int, value: int) -> None:
        raise NotImplementedError

    def read(self, register: int, size: int) -> bytes:
        width = self.widths.get(register, 2)
        # What is read beyond a register's end: the bus floats high.
        return (self.get(register).to_bytes(width, "big") + b"\xff" * size)[:size]

    def write(self, register: int, data: bytes) -> None:
        self.put(register, int.from_bytes(data, "big"))


@dataclass(eq=False)
class FakeBus:
    """A bus with chips by address, and what may be wrong with it."""

    chips: dict[int, Chip] = field(default_factory=dict)
    stuck: bool = False
    gone: bool = False
    seconds: float = 0.0
    transfers: int = 0

    def _chip(self, address: int) -> Chip:
        self.transfers += 1
        if self.seconds:
            time.sleep(self.seconds)
        if self.gone:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        if self.stuck:
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        if address not in self.chips:
            raise OSError(errno.EREMOTEIO, os.strerror(errno.EREMOTEIO))
        return self.chips[address]

    def read_byte_data(self, i2c_addr: int, register: int) -> int:
        return self._chip(i2c_addr).read(register, 1)[0]

    def write_byte_data(self, i2c_addr: int, register: int, value: int) -> None:
        self._chip(i2c_addr).write(register, bytes([value]))

    def read_word_data(self, i2c_addr: int, register: int) -> int:
        return int.from_bytes(self._chip(i2c_addr).read(register, 2), "little")

    def write_word_data(self, i2c_addr: int, register: int, value: int) -> None:
        self._chip(i2c_addr).write(register, value.to_bytes(2, "little"))

    def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> list[int]:
        return list(self._chip(i2c_addr).read(register, length))

    def write_i2c_block_data(self, i2c_addr: int, register: int, data: list[int]) -> None:
        self._chip(i2c_addr).write(register, bytes(data))

    def close(self) -> None:
        pass


def bits(value: float, width: int) -> int:
    """Two's complement, saturated as a converter does."""
    low, high = -(1 << (width - 1)), (1 << (width - 1)) - 1
    return max(low, min(high, round(value))) & ((1 << width) - 1)


def _signed(value: int, width: int) -> int:
    return value - (1 << width) if value >> (width - 1) else value


class CurrentMonitor(Chip):
    """What the monitors share: a load behind a shunt."""

    power_on: dict[int, int] = {}  # noqa: RUF012
    fixed: dict[int, int] = {}  # noqa: RUF012

    def __init__(self, shunt_ohms: float, volts: float = 5.0, amperes: float = 1.0) -> None:
        self.shunt_ohms, self.volts, self.amperes = shunt_ohms, volts, amperes
        super().__init__()

    def reset(self) -> None:
        self.written = dict(self.power_on)

    def put(self, register: int, value: int) -> None:
        if register in self.power_on:
            self.written[register] = value

    def get(self, register: int) -> int:
        if register in self.fixed:
            return self.fixed[register]
        return self.written[register] if register in self.written else self.measured(register)

    def measured(self, register: int) -> int:
        raise NotImplementedError


class Ina219(CurrentMonitor):
    power_on = {0: 0x399F, 5: 0}  # noqa: RUF012

    def put(self, register: int, value: int) -> None:
        super().put(register, value & ~1 if register == 5 else value & 0x3FFF)

    def measured(self, register: int) -> int:
        full_scale = 0.04 * (1 << (self.written[0] >> 11 & 3))
        shunt = round(max(-full_scale, min(full_scale, self.amperes * self.shunt_ohms)) / 10e-6)
        current = math.trunc(shunt * self.written[5] / 4096)
        if register == 1:
            return shunt & 0xFFFF
        if register == 2:
            return round(self.volts / 4e-3) << 3 | 2 | (abs(current) > 0x7FFF)
        if register == 4:
            return bits(current, 16)
        return 0


class Ina226(CurrentMonitor):
    power_on = {0: 0x4127, 5: 0, 7: 0}  # noqa: RUF012
    fixed = {0xFE: 0x5449, 0xFF: 0x2260}  # noqa: RUF012

    def measured(self, register: int) -> int:
        shunt = _signed(bits(self.amperes * self.shunt_ohms / 2.5e-6, 16), 16)
        current = math.trunc(shunt * self.written[5] / 2048)
        return {
            1: shunt & 0xFFFF,
            2: round(self.volts / 1.25e-3),
            4: bits(current, 16),
            6: 0x4 if abs(current) > 0x7FFF else 0,
        }.get(register, 0)


class Ina228(CurrentMonitor):
    widths = {4: 3, 5: 3, 7: 3, 8: 3, 9: 5, 10: 5}  # noqa: RUF012
    power_on = {0: 0, 1: 0xFB68, 2: 0x1000, 11: 0x0001}  # noqa: RUF012
    fixed = {0x3E: 0x5449, 0x3F: 0x2281}  # noqa: RUF012

    def get(self, register: int) -> int:
        if register == 11:
            return self.written[11] | (1 << 9 if abs(self._current()) > 0x7FFFF else 0)
        return super().get(register)

    def _current(self) -> float:
        # CURRENT_LSB follows from the calibration that was written, as SHUNT_CAL's formula says.
        narrow = 4 if self.written[0] & 0x10 else 1
        calibration = self.written[2]
        return self.amperes / (calibration / (13107.2e6 * narrow * self.shunt_ohms)) if calibration else 0.0

    def measured(self, register: int) -> int:
        if register == 5:
            return round(self.volts / 195.3125e-6) << 4
        if register == 7:
            return bits(self._current(), 20) << 4
        return 0


class Ina3221(CurrentMonitor):
    power_on = {0: 0x7127}  # noqa: RUF012
    fixed = {0xFE: 0x5449, 0xFF: 0x3220}  # noqa: RUF012

    def __init__(self, shunt_ohms: float, loads: tuple[tuple[float, float], ...]) -> None:
        self.loads = loads
        super().__init__(shunt_ohms)

    def measured(self, register: int) -> int:
        volts, amperes = self.loads[(register - 1) // 2]
        if register % 2:
            return bits(amperes * self.shunt_ohms / 40e-6, 13) << 3
        return bits(volts / 8e-3, 13) << 3


class Tmp102(Chip):
    """``celsius`` in 12 bits; the resolution bits cannot be written."""

    def __init__(self, celsius: float = 20.0) -> None:
        self.celsius = celsius
        super().__init__()

    def reset(self) -> None:
        self.configuration = 0x60A0

    def get(self, register: int) -> int:
        return bits(self.celsius * 16, 12) << 4 if register == 0 else self.configuration

    def put(self, register: int, value: int) -> None:
        if register == 1:
            self.configuration = value | 0x6000


class Tmp105(Chip):
    """Nine bits after power-on, up to twelve by its configuration of one byte."""

    widths = {1: 1}  # noqa: RUF012

    def __init__(self, celsius: float = 20.0) -> None:
        self.celsius = celsius
        super().__init__()

    def reset(self) -> None:
        self.configuration = 0x00

    def get(self, register: int) -> int:
        if register == 1:
            return self.configuration
        width = 9 + (self.configuration >> 5 & 3)
        return bits(math.floor(self.celsius * (1 << (width - 8))), width) << (16 - width)

    def put(self, register: int, value: int) -> None:
        if register == 1:
            self.configuration = value


class Tmp117(Chip):
    def __init__(self, celsius: float = 20.0) -> None:
        self.celsius = celsius
        self.measured = True
        super().__init__()

    def reset(self) -> None:
        self.configuration = 0x0220

    def get(self, register: int) -> int:
        if register == 0:
            return bits(self.celsius * 128, 16) if self.measured else 0x8000
        return {1: self.configuration, 0x0F: 0x0117}.get(register, 0)

    def put(self, register: int, value: int) -> None:
        if register == 1:
            self.configuration = value


class Ads1115(Chip):
    """``volts`` gives the voltage of a channel; a conversion takes ``polls`` looks at the busy bit."""

    def __init__(self, volts: Callable[[int], float], polls: int = 0) -> None:
        self.volts, self.polls, self.left = volts, polls, 0
        super().__init__()

    def reset(self) -> None:
        self.configuration, self.result = 0x8583, 0

    def put(self, register: int, value: int) -> None:
        if register != 1:
            return
        self.configuration = value & 0x7FFF
        if value & 0x8000:
            full_scale = (6.144, 4.096, 2.048, 1.024, 0.512, 0.256, 0.256, 0.256)[value >> 9 & 7]
            assert value & 0x4000, "only single-ended inputs are modelled"
            self.result = bits(self.volts(value >> 12 & 3) / full_scale * 32768, 16)
            self.left = self.polls

    def get(self, register: int) -> int:
        if register == 0:
            return self.result
        self.left -= 1
        return self.configuration | (0x8000 if self.left < 0 else 0)


class Pca9685(Chip):
    """Sixteen pulses; registers are single bytes that follow one another. ``pulse_seconds`` is what a servo sees."""

    def reset(self) -> None:
        self.bytes = bytearray(256)
        self.bytes[0x00] = 0x11
        self.bytes[0x01] = 0x04
        self.bytes[0xFE] = 0x1E
        for channel in range(16):
            self.bytes[0x09 + 4 * channel] = 0x10

    def read(self, register: int, size: int) -> bytes:
        return bytes(self.bytes[register : register + size])

    def write(self, register: int, data: bytes) -> None:
        for offset, value in enumerate(data):
            # Without auto-increment, everything lands in one register.
            place = register + offset if self.bytes[0] & 0x20 else register
            if place == 0xFE and not self.bytes[0] & 0x10:
                continue  # the prescaler is locked while the oscillator runs
            self.bytes[place] = value

    def pulse_seconds(self, channel: int) -> float:
        """Length of a channel's pulses; 0 when it is off or the chip sleeps."""
        on_low, on_high, off_low, off_high = self.bytes[0x06 + 4 * channel : 0x0A + 4 * channel]
        if off_high & 0x10 or self.bytes[0] & 0x10:
            return 0.0
        if on_high & 0x10:
            return math.inf
        ticks = ((off_high << 8 | off_low) - (on_high << 8 | on_low)) % 4096
        return ticks * (self.bytes[0xFE] + 1) / 25e6
