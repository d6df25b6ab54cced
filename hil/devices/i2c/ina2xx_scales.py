"""What the numbers in the registers of Texas Instruments' current monitors mean. Pure arithmetic.

Formulas and constants are of the data sheets: INA219 (SBOS448), INA226 (SBOS547), INA228 (SLYS021), INA3221 (SBOS576),
and agree with the kernel's drivers/hwmon/ina2xx.c, ina238.c and ina3221.c, and for the INA228 with Adafruit's driver.
Each chip measures the voltage over a shunt, and works out the current from it with a calibration that is written to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

_INA219_RANGES_VOLTS: Final = (0.04, 0.08, 0.16, 0.32)
_INA219_CALIBRATION: Final = 0.04096
_INA226_CALIBRATION: Final = 0.00512
_INA228_CALIBRATION: Final = 13107.2e6
_INA228_RANGES_VOLTS: Final = (0.04096, 0.16384)

INA226_SHUNT_VOLTS: Final = 0.08192
INA3221_SHUNT_VOLTS: Final = 0.1638


class ShuntError(ValueError):
    """Shunt and maximum current do not suit the chip; the message says what would."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How a chip is set up for a shunt.

    Attributes:
        register: value of the calibration register.
        amperes_per_bit: of the current register, with the rounding of ``register``.
        range_code: of the configuration: INA219's gain (0 to 3), INA228's narrow range (1).
    """

    register: int
    amperes_per_bit: float
    range_code: int = 0


def ina219_calibration(shunt_ohms: float, maximum_amperes: float) -> Calibration:
    """Gain and calibration of an INA219: the narrowest of its ranges that holds the current.

    Raises:
        ShuntError: no range holds it, or the calibration does not fit its register.
    """
    code = _range_of("INA219", _INA219_RANGES_VOLTS, shunt_ohms, maximum_amperes)
    wanted = maximum_amperes / 2**15
    # Bit 0 of the register is fixed at 0.
    register = math.floor(_INA219_CALIBRATION / (wanted * shunt_ohms)) & ~1
    register = min(register, 0xFFFE)
    _check(register, 2, 0xFFFE, shunt_ohms, maximum_amperes)
    return Calibration(register, _INA219_CALIBRATION / (register * shunt_ohms), code)


def ina226_calibration(shunt_ohms: float, maximum_amperes: float) -> Calibration:
    """Calibration of an INA226. Raises ShuntError as :func:`ina219_calibration`."""
    _range_of("INA226", (INA226_SHUNT_VOLTS,), shunt_ohms, maximum_amperes)
    register = min(math.floor(_INA226_CALIBRATION / (maximum_amperes / 2**15 * shunt_ohms)), 0x7FFF)
    _check(register, 1, 0x7FFF, shunt_ohms, maximum_amperes)
    return Calibration(register, _INA226_CALIBRATION / (register * shunt_ohms))


def ina228_calibration(shunt_ohms: float, maximum_amperes: float) -> Calibration:
    """Range and calibration of an INA228; in the narrow range its calibration counts four times.

    Raises ShuntError as :func:`ina219_calibration`.
    """
    wide = _range_of("INA228", _INA228_RANGES_VOLTS, shunt_ohms, maximum_amperes)
    factor = _INA228_CALIBRATION * (1 if wide else 4) * shunt_ohms
    register = min(math.floor(factor * maximum_amperes / 2**19), 0x7FFF)
    _check(register, 1, 0x7FFF, shunt_ohms, maximum_amperes)
    return Calibration(register, register / factor, 0 if wide else 1)


def ina3221_check(shunt_ohms: float, maximum_amperes: float) -> None:
    """An INA3221 has one range, and leaves the division by the shunt to whoever reads it. Raises ShuntError."""
    _range_of("INA3221", (INA3221_SHUNT_VOLTS,), shunt_ohms, maximum_amperes)


def ina219_bus_volts(register: int) -> float:
    """Bus voltage: 4 mV a bit, above three flags."""
    return (register >> 3) * 4e-3


def ina226_bus_volts(register: int) -> float:
    """Bus voltage: 1.25 mV a bit."""
    return register * 1.25e-3


def ina228_bus_volts(register: int) -> float:
    """Bus voltage: 195.3125 uV a bit, above four that are reserved."""
    return (register >> 4) * 195.3125e-6


def ina228_current_bits(register: int) -> int:
    """Current, in bits: 20 of them with a sign, above four that are reserved."""
    bits = register >> 4
    return bits - (1 << 20) if bits >> 19 & 1 else bits


def ina3221_bus_volts(register: int) -> float:
    """Bus voltage: signed, 8 mV a bit, above three that are reserved."""
    return _upper_13(register) * 8e-3


def ina3221_shunt_volts(register: int) -> float:
    """Voltage over the shunt: signed, 40 uV a bit, above three that are reserved."""
    return _upper_13(register) * 40e-6


def _upper_13(register: int) -> int:
    return (register - (1 << 16) if register & 0x8000 else register) >> 3


def _range_of(kind: str, ranges_volts: tuple[float, ...], shunt_ohms: float, maximum_amperes: float) -> int:
    """The narrowest range that holds the current."""
    volts = shunt_ohms * maximum_amperes
    for code, full_scale in enumerate(ranges_volts):
        if volts <= full_scale * (1.0 + 1e-9):
            return code
    largest = ranges_volts[-1]
    problem = (
        f"maximum_amperes = {maximum_amperes:g} through shunt_ohms = {shunt_ohms:g} is {volts:g} V, and an {kind} "
    )
    advice = f"measures {largest:g} V at most: {largest / shunt_ohms:.3g} A with this shunt, or a shunt of at most "
    raise ShuntError(f"{problem}{advice}{largest / maximum_amperes:.2g} ohms")


def _check(register: int, low: int, high: int, shunt_ohms: float, maximum_amperes: float) -> None:
    if not low <= register <= high:
        problem = f"maximum_amperes = {maximum_amperes:g} and shunt_ohms = {shunt_ohms:g} are too small or too large "
        raise ShuntError(f"{problem}together: the calibration would be {register}, and must be {low} to {high}")
