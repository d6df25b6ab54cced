"""What answers on a board's I2C buses, asked so that nothing is changed.

Whether somebody is at an address is asked by receiving a byte, as ``i2cdetect -r`` does: unlike a quick write, or a
read of a register, it writes nothing, and an I/O expander keeps its outputs. Only then, and only where a chip that we
know may sit, registers are read that tell it from others. What a driver of the kernel serves is not asked at all.

Identities are those of the data sheets: INA226 (SBOS547), INA228 (SLYS021), INA3221 (SBOS576), TMP117 (SNOSD82),
HDC1080 (SNAS672), BME280 (BST-BME280-DS001); power-on values of chips that have none: INA219 (SBOS448), TMP102
(SBOS397), LM75 and TMP105 (SBOS648), ADS1115 (SBAS444), PCA9685 (NXP, rev. 4).
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Sequence
from typing import Protocol, cast

import msgspec

from hil.devices.host import Host, explain
from hil.devices.i2c.chip import Chip

# Buses of a computer's own inner life: memory modules, regulators, displays. They are left alone unless asked for.
HANDS_OFF = ("smbus", "gmbus", "aux", "ddc", "bpmp", "nvidia i2c adapter", "amdgpu", "radeon", "synopsys designware")
FIRST, LAST = 0x08, 0x77
_TEXAS_INSTRUMENTS = 0x5449
_SILENT = frozenset({errno.ENXIO, errno.EREMOTEIO, errno.EIO, errno.ENODEV})


class FoundChip(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody answers at ``address``.

    ``chip`` is what it is, or may be ("INA226", "" for nobody we know), ``certain`` whether it said so itself,
    ``kernel_driver`` who serves it already, ``drivers`` which of ours would.
    """

    bus: int
    address: int
    chip: str = ""
    certain: bool = False
    kernel_driver: str = ""
    drivers: tuple[str, ...] = ()


class FoundBus(msgspec.Struct, frozen=True, kw_only=True):
    """A bus. ``problem`` says why nothing was asked there."""

    number: int
    name: str
    chips: tuple[FoundChip, ...] = ()
    problem: str = ""


class _Receiver(Protocol):
    def read_byte(self, i2c_addr: int) -> int: ...


def scan_i2c(host: Host, also: Sequence[int] = ()) -> tuple[FoundBus, ...]:
    """Scan all buses but those that belong to the computer itself; of these, those in ``also``."""
    numbers = sorted(
        int(path.name.removeprefix("i2c-"))
        for path in host.path("/dev").glob("i2c-*")
        if path.name.removeprefix("i2c-").isdecimal()
    )
    return tuple(_scan_bus(host, number, asked_for=number in also) for number in numbers)


def _scan_bus(host: Host, number: int, *, asked_for: bool) -> FoundBus:
    name = ""
    with contextlib.suppress(OSError):
        name = host.path(f"/sys/class/i2c-dev/i2c-{number}/name").read_text().strip()
    held = _held(host, number)
    if not asked_for and any(word in name.lower() for word in HANDS_OFF):
        problem = f"left alone: it serves the computer itself; --bus {number} asks there all the same"
        return FoundBus(number=number, name=name, chips=tuple(held.values()), problem=problem)
    try:
        bus = host.i2c(number)
    except OSError as error:
        problem = explain(error, f"/dev/i2c-{number}")
        return FoundBus(number=number, name=name, chips=tuple(held.values()), problem=problem)
    chips: list[FoundChip] = []
    for address in range(FIRST, LAST + 1):
        if address in held:
            chips.append(held[address])
            continue
        try:
            cast("_Receiver", bus).read_byte(address)
        except OSError as error:
            if error.errno in _SILENT:
                continue
            if error.errno == errno.EBUSY:
                chips.append(FoundChip(bus=number, address=address, kernel_driver="unknown"))
                continue
            # A bus that hangs would hang at every address.
            problem = explain(error, f"/dev/i2c-{number}")
            return FoundBus(number=number, name=name, chips=tuple(chips), problem=problem)
        chips.append(identify(host, number, address))
    return FoundBus(number=number, name=name, chips=tuple(chips))


def _held(host: Host, number: int) -> dict[int, FoundChip]:
    """Chips that a driver of the kernel serves; their directories are named such as 1-0040."""
    found: dict[int, FoundChip] = {}
    for device in sorted(host.path("/sys/bus/i2c/devices").glob(f"{number}-*")):
        with contextlib.suppress(ValueError, OSError):
            address = int(device.name.partition("-")[2], 16)
            driver = device / "driver"
            if FIRST <= address <= LAST and driver.exists():
                name = (device / "name").read_text().strip() if (device / "name").exists() else ""
                found[address] = FoundChip(
                    bus=number, address=address, chip=name, certain=True, kernel_driver=driver.resolve().name
                )
    return found


def identify(host: Host, bus: int, address: int) -> FoundChip:
    """Tell what answers at an address, by registers that say so, else by values that are typical after power-on."""
    chip = Chip("chip", host, bus, address)
    for low, high, rules in _RULES:
        if not low <= address <= high:
            continue
        for name, certain, drivers, holds in rules:
            # A register that a chip does not have may well go unanswered.
            with contextlib.suppress(OSError):
                if holds(chip):
                    return FoundChip(bus=bus, address=address, chip=name, certain=certain, drivers=drivers)
    return FoundChip(bus=bus, address=address)


_Rule = tuple[str, bool, tuple[str, ...], Callable[[Chip], bool]]


def _ti(chip: Chip, manufacturer: int, device: int, wanted: int) -> bool:
    return chip.read_word(manufacturer) == _TEXAS_INSTRUMENTS and chip.read_word(device) & 0xFFF0 == wanted


_CURRENT_MONITORS: tuple[_Rule, ...] = (
    ("INA226", True, ("i2c.ina226",), lambda chip: _ti(chip, 0xFE, 0xFF, 0x2260)),
    ("INA3221", True, ("i2c.ina3221",), lambda chip: _ti(chip, 0xFE, 0xFF, 0x3220)),
    ("HDC1080", True, (), lambda chip: _ti(chip, 0xFE, 0xFF, 0x1050)),
    ("INA228", True, ("i2c.ina228",), lambda chip: _ti(chip, 0x3E, 0x3F, 0x2280)),
)
_THERMOMETERS: tuple[_Rule, ...] = (
    ("TMP117", True, ("i2c.tmp117",), lambda chip: chip.read_word(0x0F) & 0x0FFF == 0x0117),
    # Thresholds of the comparator after power-on.
    (
        "ADS1115",
        False,
        ("i2c.thermistor", "i2c.photodiode"),
        lambda chip: chip.read_word(0x02) == 0x8000 and chip.read_word(0x03) == 0x7FFF,
    ),
    # Resolution bits that always read as 1, and the alert bit.
    ("TMP102", False, ("i2c.tmp102",), lambda chip: chip.read_word(0x01) & 0x60AF == 0x60A0),
    # 75 and 80 degrees: the thermostat after power-on.
    (
        "TMP105 or LM75",
        False,
        ("i2c.tmp105",),
        lambda chip: chip.read_word(0x02) == 0x4B00 and chip.read_word(0x03) == 0x5000,
    ),
)
_LATE_GUESSES: tuple[_Rule, ...] = (
    # Prescaler for 200 Hz after power-on, 50 Hz as servos want it; asleep or awake.
    ("PCA9685", False, ("gimbal.laser",), lambda chip: chip.read_byte(0xFE) in {0x1E, 0x79, 0x7A}),
    # Bits 15 and 14 of its configuration are 0, and it keeps a calibration whose last bit is 0.
    ("INA219", False, ("i2c.ina219",), lambda chip: chip.read_word(0x00) in {0x399F, 0x019F, 0x3FFF}),
)
_BAROMETERS: tuple[_Rule, ...] = (
    ("BME280", True, (), lambda chip: chip.read_byte(0xD0) == 0x60),
    ("BMP280", True, (), lambda chip: chip.read_byte(0xD0) == 0x58),
)
# By address, in the order in which they are tried. SHT21 and Si7021, at 0x40 too, take 0xFE for a reset of themselves,
# which they survive.
_RULES: tuple[tuple[int, int, tuple[_Rule, ...]], ...] = (
    (0x48, 0x4B, _THERMOMETERS),
    (0x4C, 0x4F, _THERMOMETERS[2:]),
    (0x40, 0x4F, _CURRENT_MONITORS),
    (0x40, 0x4F, _LATE_GUESSES),
    (0x76, 0x77, _BAROMETERS),
)
