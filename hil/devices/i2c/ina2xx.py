"""``i2c.ina219``, ``i2c.ina226``, ``i2c.ina228``, ``i2c.ina3221``: what flows through a shunt.

Settings beside those of every gauge: ``bus`` (1), ``address`` (0x40), ``shunt_ohms`` (that of the usual breakout
board), ``maximum_amperes``, ``quantity`` ("power", "current" or "voltage") and, for the three channels of an INA3221,
``channel`` (1). Power is voltage times current, with the sign of the current: the chips' own power registers have none.

A chip whose supply dipped comes back without its calibration, or with another one. Each sample looks for that in what
it reads anyway, so that a wrong number never passes for a good one: an INA219 or INA226 without calibration says that
no current flows, and only then is the calibration asked for; in an INA228 a bit of the alert register that we set is
gone.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import Final

from flight.hal import DeviceEnvironment, DeviceError
from hil.devices.gauge import GAUGE_SETTINGS, Gauge
from hil.devices.host import host_of
from hil.devices.i2c import ina2xx_scales as scales
from hil.devices.i2c.chip import Chip, ChipDriver, ChipFaultError, expect
from hil.devices.options import Options

Settings = Mapping[str, object]

_UNITS: Final = {"power": "W", "current": "A", "voltage": "V"}
_OWN: Final = ("bus", "address", "shunt_ohms", "maximum_amperes", "quantity")

_TEXAS_INSTRUMENTS: Final = 0x5449

# INA219: 32 V range, 12 bits, 16 samples averaged (8.5 ms each), both continuously; the gain comes in between.
_INA219_CONFIGURATION: Final = 0x2000 | 0xC << 7 | 0xC << 3 | 0x7
_INA219_FIXED_ZEROS: Final = 0xC000
_INA219_OVERFLOW: Final = 0x1
# INA226: 16 samples averaged, 1.1 ms each, both continuously; bit 14 reads as 1.
_INA226_CONFIGURATION: Final = 0x4000 | 0x2 << 9 | 0x4 << 6 | 0x4 << 3 | 0x7
_INA226_OVERFLOW: Final = 0x4
# INA228: voltage, current and temperature continuously, 1052 us each, 16 samples averaged.
_INA228_ADC_CONFIGURATION: Final = 0xF << 12 | 0x5 << 9 | 0x5 << 6 | 0x5 << 3 | 0x2
_INA228_NARROW: Final = 1 << 4
# Alerts wait for the average: we use none, and set it for a mark that a reset takes away.
_INA228_MARK: Final = 1 << 13
_INA228_OVERFLOW: Final = 1 << 9
# INA3221: all channels, 16 samples averaged, 1.1 ms each, both continuously.
_INA3221_CONFIGURATION: Final = 0x7000 | 0x2 << 9 | 0x4 << 6 | 0x4 << 3 | 0x7
_INA3221_FULL_SCALE: Final = 0x7FF8


class CurrentMonitor(ChipDriver):
    """A chip on a shunt; ``measure`` gives the quantity that was asked for."""

    def __init__(self, chip: Chip, quantity: str) -> None:
        super().__init__(chip)
        self._measure: Callable[[], float] = {
            "power": self._watts,
            "current": self.amperes,
            "voltage": self.volts,
        }[quantity]

    def measure(self) -> float:
        return self._measure()

    def volts(self) -> float:
        """Voltage of the load's side against ground. Raises ChipFaultError."""
        raise NotImplementedError

    def amperes(self) -> float:
        """Current through the shunt, positive from IN+ to IN-. Raises ChipFaultError."""
        raise NotImplementedError

    def _watts(self) -> float:
        return self.volts() * self.amperes()

    def _overflow(self) -> ChipFaultError:
        problem = f"the {self.chip.where} overflows: more flows than maximum_amperes; raise it, or take a smaller shunt"
        return ChipFaultError(errno.ERANGE, problem)

    def _was_reset(self) -> ChipFaultError:
        problem = f"the {self.chip.where} lost its settings: its supply dipped; they are written again"
        return ChipFaultError(errno.EAGAIN, problem)


class Ina219(CurrentMonitor):
    """INA219: 26 V, 12 bits, no identity register."""

    settle_seconds = 0.02

    def __init__(self, chip: Chip, quantity: str, calibration: scales.Calibration) -> None:
        super().__init__(chip, quantity)
        self._calibration = calibration
        self._configuration = _INA219_CONFIGURATION | calibration.range_code << 11

    def prepare(self) -> None:
        # It cannot say what it is. An INA226 has bit 14 set here, an INA3221 bits 14 to 12, and both can.
        if self.chip.read_word(0x00) & _INA219_FIXED_ZEROS:
            problem = f"what answers as {self.chip.where} is no INA219: bits 15 and 14 of its configuration are not 0; "
            raise ChipFaultError(errno.ENODEV, f"{problem}it may be an INA226 or INA3221")
        self.chip.write_word(0x00, self._configuration)
        self.chip.write_word(0x05, self._calibration.register)

    def volts(self) -> float:
        return scales.ina219_bus_volts(self.chip.read_word(0x02))

    def amperes(self) -> float:
        return self._amperes(self.chip.read_word(0x02))

    def _watts(self) -> float:
        register = self.chip.read_word(0x02)
        return scales.ina219_bus_volts(register) * self._amperes(register)

    def _amperes(self, bus_register: int) -> float:
        if bus_register & _INA219_OVERFLOW:
            raise self._overflow()
        bits = self.chip.read_signed_word(0x04)
        if bits == 0 and self.chip.read_word(0x05) != self._calibration.register:
            raise self._was_reset()
        return bits * self._calibration.amperes_per_bit


class Ina226(CurrentMonitor):
    """INA226: 36 V, 16 bits."""

    settle_seconds = 0.04

    def __init__(self, chip: Chip, quantity: str, calibration: scales.Calibration) -> None:
        super().__init__(chip, quantity)
        self._calibration = calibration

    def prepare(self) -> None:
        expect(self.chip, 0xFE, (_TEXAS_INSTRUMENTS,), hint="an INA219 has no such register")
        expect(self.chip, 0xFF, (0x2260,), mask=0xFFF0)
        self.chip.write_word(0x00, _INA226_CONFIGURATION)
        self.chip.write_word(0x05, self._calibration.register)

    def volts(self) -> float:
        return scales.ina226_bus_volts(self.chip.read_word(0x02))

    def amperes(self) -> float:
        bits = self.chip.read_signed_word(0x04)
        if bits == 0 and self.chip.read_word(0x05) != self._calibration.register:
            raise self._was_reset()
        if self.chip.read_word(0x06) & _INA226_OVERFLOW:
            raise self._overflow()
        return bits * self._calibration.amperes_per_bit


class Ina228(CurrentMonitor):
    """INA228: 85 V, 20 bits."""

    settle_seconds = 0.06

    def __init__(self, chip: Chip, quantity: str, calibration: scales.Calibration) -> None:
        super().__init__(chip, quantity)
        self._calibration = calibration

    def prepare(self) -> None:
        expect(self.chip, 0x3E, (_TEXAS_INSTRUMENTS,))
        expect(self.chip, 0x3F, (0x2280,), mask=0xFFF0)
        self.chip.write_word(0x00, _INA228_NARROW * self._calibration.range_code)
        self.chip.write_word(0x01, _INA228_ADC_CONFIGURATION)
        self.chip.write_word(0x02, self._calibration.register)
        self.chip.write_word(0x0B, _INA228_MARK)

    def volts(self) -> float:
        return scales.ina228_bus_volts(self.chip.read_number(0x05, 3))

    def amperes(self) -> float:
        bits = scales.ina228_current_bits(self.chip.read_number(0x07, 3))
        flags = self.chip.read_word(0x0B)
        if not flags & _INA228_MARK:
            raise self._was_reset()
        if flags & _INA228_OVERFLOW:
            raise self._overflow()
        return bits * self._calibration.amperes_per_bit


class Ina3221(CurrentMonitor):
    """One channel of an INA3221: 26 V, 13 bits. It needs no calibration, so that a reset costs only the averaging."""

    settle_seconds = 0.12

    def __init__(self, chip: Chip, quantity: str, shunt_ohms: float, channel: int) -> None:
        super().__init__(chip, quantity)
        self._shunt_ohms = shunt_ohms
        self._shunt_register = 2 * channel - 1
        self._bus_register = 2 * channel

    def prepare(self) -> None:
        expect(self.chip, 0xFE, (_TEXAS_INSTRUMENTS,))
        expect(self.chip, 0xFF, (0x3220,), mask=0xFFF0)
        self.chip.write_word(0x00, _INA3221_CONFIGURATION)

    def volts(self) -> float:
        return scales.ina3221_bus_volts(self.chip.read_word(self._bus_register))

    def amperes(self) -> float:
        register = self.chip.read_word(self._shunt_register)
        if register & 0xFFF8 in (_INA3221_FULL_SCALE, 0x8000):
            raise self._overflow()
        return scales.ina3221_shunt_volts(register) / self._shunt_ohms


_Make = Callable[[Chip, str, float, float], CurrentMonitor]


def _gauge(
    name: str,
    settings: Settings,
    environment: DeviceEnvironment,
    kind: str,
    make: _Make,
    usual: tuple[float, float],
    bounds: tuple[float, int],
    own: tuple[str, ...] = (),
) -> Gauge:
    """``usual`` are shunt (ohms) and most current (A); ``bounds`` the most volts of the bus and the last address."""
    most_volts, last_address = bounds
    options = Options(name, settings, (*_OWN, *own, *GAUGE_SETTINGS))
    bus = options.whole("bus", 1, 0, 255)
    address = options.whole("address", 0x40, 0x40, last_address)
    shunt_ohms = options.number("shunt_ohms", usual[0], 1e-6, 100.0)
    amperes = options.number("maximum_amperes", usual[1], 1e-3, 1e3)
    quantity = options.choice("quantity", _UNITS, "power")
    try:
        driver = make(Chip(kind, host_of(environment), bus, address), quantity, shunt_ohms, amperes)
        driver.begin()
    except (scales.ShuntError, DeviceError) as error:
        raise DeviceError(f"{name}: {error}") from error
    # Noise and offset reach a little beyond what is said to be the most, and a little below nothing.
    most = {"power": most_volts * amperes, "current": amperes, "voltage": most_volts}[quantity] * 1.02
    least = -0.02 * most if quantity == "voltage" else -most
    return Gauge(name, driver.sample, settings, environment, _UNITS[quantity], (least, most), bus=f"i2c-{bus}")


def ina219(name: str, settings: Settings, environment: DeviceEnvironment) -> Gauge:
    """Entry point ``i2c.ina219``: addresses 0x40 to 0x4f, shunt of 0.1 ohms and 3.2 A unless it is said."""

    def make(chip: Chip, quantity: str, shunt_ohms: float, amperes: float) -> CurrentMonitor:
        return Ina219(chip, quantity, scales.ina219_calibration(shunt_ohms, amperes))

    return _gauge(name, settings, environment, "INA219", make, (0.1, 3.2), (32.0, 0x4F))


def ina226(name: str, settings: Settings, environment: DeviceEnvironment) -> Gauge:
    """Entry point ``i2c.ina226``: addresses 0x40 to 0x4f, shunt of 0.1 ohms and 0.8 A unless it is said."""

    def make(chip: Chip, quantity: str, shunt_ohms: float, amperes: float) -> CurrentMonitor:
        return Ina226(chip, quantity, scales.ina226_calibration(shunt_ohms, amperes))

    return _gauge(name, settings, environment, "INA226", make, (0.1, 0.8), (36.0, 0x4F))


def ina228(name: str, settings: Settings, environment: DeviceEnvironment) -> Gauge:
    """Entry point ``i2c.ina228``: addresses 0x40 to 0x4f, shunt of 0.015 ohms and 10 A unless it is said."""

    def make(chip: Chip, quantity: str, shunt_ohms: float, amperes: float) -> CurrentMonitor:
        return Ina228(chip, quantity, scales.ina228_calibration(shunt_ohms, amperes))

    return _gauge(name, settings, environment, "INA228", make, (0.015, 10.0), (85.0, 0x4F))


def ina3221(name: str, settings: Settings, environment: DeviceEnvironment) -> Gauge:
    """Entry point ``i2c.ina3221``: addresses 0x40 to 0x43, shunts of 0.1 ohms and 1.6 A unless it is said."""
    channel = Options(name, settings, settings).whole("channel", 1, 1, 3)

    def make(chip: Chip, quantity: str, shunt_ohms: float, amperes: float) -> CurrentMonitor:
        scales.ina3221_check(shunt_ohms, amperes)
        return Ina3221(chip, quantity, shunt_ohms, channel)

    return _gauge(name, settings, environment, "INA3221", make, (0.1, 1.6), (26.0, 0x43), own=("channel",))
