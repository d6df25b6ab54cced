"""A chip on an I2C bus: its registers, the lock of its bus, and what a failure means, in a sentence.

SMBus words are little-endian on the wire (SMBus 3.1, 6.5.5), while these chips send their most significant byte first:
:meth:`Chip.read_word` and :meth:`Chip.write_word` swap. Errors of the kernel's I2C adapters are those of its
documentation, "I2C/SMBUS Fault Codes" (Documentation/i2c/fault-codes.rst).
"""

from __future__ import annotations

import errno
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import ClassVar, Final, TypeVar
from weakref import WeakKeyDictionary

from flight.hal import DeviceError
from hil.devices.host import Host, I2cBus, ToldError, explain

T = TypeVar("T")

_SILENT: Final = frozenset({errno.ENXIO, errno.EREMOTEIO, errno.EIO})
_STUCK: Final = frozenset({errno.ETIMEDOUT, errno.EAGAIN})
_FORBIDDEN: Final = frozenset({errno.EACCES, errno.EPERM})
_GONE: Final = frozenset({errno.ENODEV, errno.ENOENT, errno.EBADF, errno.ESHUTDOWN})

_SENTENCES: Final = {
    _SILENT: "nothing answers as {where}; look at its supply, SDA, SCL and ground, and at its address pins "
    "(skyrack hil scan lists what answers)",
    _STUCK: "i2c-{bus} is stuck: something holds SDA or SCL low, so that the {where} cannot be reached; "
    "switch the chips off and on, and look at the pull-up resistors",
    _GONE: "there is no bus /dev/i2c-{bus}: switch I2C on (Raspberry Pi: dtparam=i2c_arm=on), load the module i2c-dev, "
    "or plug its adapter in",
}

# A transaction is two ioctls (address, transfer) of one descriptor that all drivers of a bus share.
_locks: WeakKeyDictionary[I2cBus, threading.RLock] = WeakKeyDictionary()
_locks_lock = threading.Lock()


class ChipFaultError(ToldError):
    """A chip does not answer, or not as it should; the message is a sentence with the remedy. It may pass."""


class Chip:
    """Registers of the chip at ``address`` of ``/dev/i2c-<bus>``. Its methods block for a transaction."""

    def __init__(self, kind: str, host: Host, bus: int, address: int) -> None:
        """``kind`` is what the chip is called in sentences: "INA219"."""
        self.kind = kind
        self.bus = bus
        self.address = address
        self._host = host

    @property
    def where(self) -> str:
        """The chip and its place, for sentences."""
        return f"{self.kind} at 0x{self.address:02x} on i2c-{self.bus}"

    def read_word(self, register: int) -> int:
        """A register of 16 bits, most significant byte first."""
        low_first = self._do(lambda bus: bus.read_word_data(self.address, register))
        return (low_first & 0xFF) << 8 | low_first >> 8

    def read_signed_word(self, register: int) -> int:
        """A register of 16 bits, two's complement."""
        return signed(self.read_word(register), 16)

    def write_word(self, register: int, value: int) -> None:
        """Set a register of 16 bits."""
        low_first = (value & 0xFF) << 8 | value >> 8
        self._do(lambda bus: bus.write_word_data(self.address, register, low_first))

    def read_number(self, register: int, size_bytes: int) -> int:
        """A register of any size, most significant byte first."""
        return int.from_bytes(self._do(lambda bus: bus.read_i2c_block_data(self.address, register, size_bytes)), "big")

    def read_byte(self, register: int) -> int:
        """A register of 8 bits."""
        return self._do(lambda bus: bus.read_byte_data(self.address, register))

    def write_byte(self, register: int, value: int) -> None:
        """Set a register of 8 bits."""
        self._do(lambda bus: bus.write_byte_data(self.address, register, value))

    def write_bytes(self, register: int, values: list[int]) -> None:
        """Set registers that follow one another."""
        self._do(lambda bus: bus.write_i2c_block_data(self.address, register, values))

    def _do(self, transfer: Callable[[I2cBus], T]) -> T:
        try:
            bus = self._host.i2c(self.bus)
            with _lock_of(bus):
                return transfer(bus)
        except OSError as error:
            if error.errno in _GONE:
                self._host.drop_i2c(self.bus)
            raise ChipFaultError(error.errno, self._meaning(error)) from error

    def _meaning(self, error: OSError) -> str:
        if isinstance(error, ToldError):
            return error.strerror or str(error)
        if error.errno in _FORBIDDEN:
            return explain(error, f"/dev/i2c-{self.bus}")
        if error.errno == errno.EBUSY:
            return self._claimed() or f"another driver holds 0x{self.address:02x} on i2c-{self.bus}"
        for codes, sentence in _SENTENCES.items():
            if error.errno in codes:
                return sentence.format(where=self.where, bus=self.bus)
        return f"the {self.where} cannot be reached: {error}"

    def refuse_if_claimed(self) -> None:
        """Raises DeviceError when a driver of the kernel serves the chip: it has the better right, and tells how."""
        claimed = self._claimed()
        if claimed:
            raise DeviceError(claimed)

    def _claimed(self) -> str:
        device = self._host.path(f"/sys/bus/i2c/devices/{self.bus}-{self.address:04x}")
        driver = device / "driver"
        if not driver.exists():
            return ""
        name = driver.resolve().name
        hwmon = sorted(path.name for path in (device / "hwmon").glob("hwmon*"))
        text = f"0x{self.address:02x} on i2c-{self.bus} is served by the kernel's driver {name}"
        release = f"echo {device.name} > /sys/bus/i2c/drivers/{name}/unbind sets the chip free"
        if not hwmon:
            return f"{text}; {release}"
        return f"{text} as {hwmon[0]}: use linux.hwmon_power or linux.hwmon_temperature for it ({release})"


class ChipDriver(ABC):
    """What measures with a chip: it is identified and configured first, and again after each fault.

    Whoever lost its supply for a moment comes back with other settings, and one that was swapped is another chip.
    """

    settle_seconds: ClassVar[float] = 0.0
    """From its configuration to the first measurement that obeys it."""

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        self._prepared = False

    def sample(self) -> float:
        """Measure; blocks for the transactions.

        Raises:
            ChipFaultError: it cannot be had now; the sentence says why.
        """
        try:
            if not self._prepared:
                self._prepare()
            return self.measure()
        except OSError:
            self._prepared = False
            raise

    def begin(self) -> None:
        """The first look, at construction. Raises DeviceError when the chip is absent, claimed, or another one."""
        self.chip.refuse_if_claimed()
        try:
            self._prepare()
        except OSError as error:
            raise DeviceError(error.strerror or str(error)) from error

    def _prepare(self) -> None:
        self.prepare()
        time.sleep(self.settle_seconds)
        self._prepared = True

    @abstractmethod
    def prepare(self) -> None:
        """Identify and configure the chip. Raises ChipFaultError."""

    @abstractmethod
    def measure(self) -> float:
        """One sample of a chip that is prepared. Raises ChipFaultError."""


def expect(chip: Chip, register: int, wanted: Collection[int], mask: int = 0xFFFF, hint: str = "") -> None:
    """Check an identity register.

    Raises:
        ChipFaultError: another chip is there.
    """
    found = chip.read_word(register) & mask
    if found not in wanted:
        words = " or ".join(f"0x{value:04x}" for value in sorted(wanted))
        problem = f"what answers as {chip.where} is no {chip.kind}: register 0x{register:02x} says 0x{found:04x}, "
        raise ChipFaultError(errno.ENODEV, f"{problem}and should say {words}{f'; {hint}' if hint else ''}")


def signed(value: int, bits: int) -> int:
    """Two's complement of so many bits."""
    return value - (1 << bits) if value >> (bits - 1) & 1 else value


def _lock_of(bus: I2cBus) -> threading.RLock:
    with _locks_lock:
        return _locks.setdefault(bus, threading.RLock())
