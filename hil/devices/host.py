"""The computer that drivers run on: where its files are, how its I2C buses are opened, and who does slow work.

Tests, and boards that are looked at from elsewhere, give another root and other buses through the attachment
``host``; without one, drivers see the machine they run on.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import pwd
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from flight.hal import DeviceEnvironment

if TYPE_CHECKING:
    import gpiod

T = TypeVar("T")

ATTACHMENT = "host"
SLOW_SECONDS = 1.0

# Rules that let the group "skyrack" at what only root may write or read; the others are Debian's own groups.
UDEV_RULES = "deploy/board/udev/"
_GROUPS = {
    "/dev/i2c-": "i2c",
    "/dev/gpiochip": "gpio",
    "/dev/gpiomem": "gpio",
    "/dev/vcio": "video",
    "/dev/ttyUSB": "dialout",
    "/dev/ttyACM": "dialout",
}
# By what stands in a path; the first that fits.
_RULES = {
    "/dev/watchdog": "71-skyrack-watchdog.rules",
    "/dev/": "70-skyrack-buses.rules",
    "pwm": "73-skyrack-pwm.rules",
    "": "72-skyrack-power.rules",
}
_MISSING = "{} needs the Python package {}, which is not installed: pip install 'skyrack[boards]'"
_GONE = (errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.EREMOTEIO, errno.ENOTDIR, errno.EACCES, errno.EPERM)


class I2cBus(Protocol):
    """What drivers use of an I2C bus: the names of smbus2."""

    def read_byte_data(self, i2c_addr: int, register: int) -> int: ...
    def write_byte_data(self, i2c_addr: int, register: int, value: int) -> None: ...
    def read_word_data(self, i2c_addr: int, register: int) -> int: ...
    def write_word_data(self, i2c_addr: int, register: int, value: int) -> None: ...
    def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> list[int]: ...
    def write_i2c_block_data(self, i2c_addr: int, register: int, data: list[int]) -> None: ...
    def close(self) -> None: ...


def _open_smbus(number: int) -> I2cBus:
    try:
        from smbus2 import SMBus
    except ImportError:
        raise ToldError(errno.ENOSYS, _MISSING.format("I2C", "smbus2")) from None
    return cast("I2cBus", SMBus(number))


def _open_gpiod(path: str) -> gpiod.Chip:
    try:
        import gpiod
    except ImportError:
        raise ToldError(errno.ENOSYS, _MISSING.format("GPIO", "gpiod")) from None
    return gpiod.Chip(path)


class ToldError(OSError):
    """An OSError whose ``strerror`` is a whole sentence already, with the remedy: who raised it knew more."""


@dataclass
class Host:
    """A computer. Files are found below ``root``; a bus is opened once and shared by its drivers."""

    root: Path = Path("/")
    open_i2c: Callable[[int], I2cBus] = _open_smbus
    open_gpio: Callable[[str], gpiod.Chip] = _open_gpiod
    _buses: dict[int, I2cBus] = field(default_factory=dict)
    _workers: dict[str, ThreadPoolExecutor] = field(default_factory=dict)
    _overdue: dict[str, Future[object]] = field(default_factory=dict)

    def path(self, absolute: str) -> Path:
        """A path of that computer, such as ``/sys/class/hwmon``."""
        return self.root / absolute.lstrip("/")

    def i2c(self, number: int) -> I2cBus:
        """The bus ``/dev/i2c-<number>``. Raises OSError when it cannot be opened."""
        if number not in self._buses:
            self._buses[number] = self.open_i2c(number)
        return self._buses[number]

    def drop_i2c(self, number: int) -> None:
        """Forget a bus that went away: an adapter that was unplugged. The next use opens it anew."""
        bus = self._buses.pop(number, None)
        if bus is not None:
            with contextlib.suppress(OSError):
                bus.close()

    async def on_bus(self, bus: str, work: Callable[[], T], timeout_seconds: float = SLOW_SECONDS) -> T:
        """Do slow work in the one thread that serves a bus, so that control is never held up by it.

        Raises:
            TimeoutError: it took too long. It goes on in its thread; until it ends, what else is asked of that bus
                is refused at once, so that one device that hangs costs control its time once, and not every time.
        """
        if bus in self._overdue:
            if not self._overdue[bus].done():
                raise TimeoutError
            del self._overdue[bus]
        if bus not in self._workers:
            self._workers[bus] = ThreadPoolExecutor(max_workers=1, thread_name_prefix=bus)
        future = self._workers[bus].submit(work)
        try:
            async with asyncio.timeout(timeout_seconds):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            if not future.done():
                self._overdue[bus] = cast("Future[object]", future)
            raise


def is_gone(error: OSError) -> bool:
    """Whether the device is not there, or not ours to read, as against one that has trouble."""
    return error.errno in _GONE


def explain(error: OSError, path: str = "") -> str:
    """What went wrong with a file or a bus, with the remedy, in one sentence without a full stop.

    ``path`` is for errors that do not name their file, such as those of a file that is open already.
    """
    if isinstance(error, ToldError):
        return error.strerror or str(error)
    path = str(error.filename or path)
    where = path or "it"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{where} may not be used by {_user()}; {_permission_remedy(path)}"
    sentence = _SENTENCES.get(error.errno or 0)
    if sentence is not None:
        return sentence.format(where=where)
    return f"{where}: {error.strerror or error}"


_SENTENCES = {
    errno.ENOENT: "{where} is absent; look whether the device is connected and its driver is loaded",
    errno.ENODEV: "{where} is absent: the device went away; look at its connection",
    errno.ENOTDIR: "{where} is absent; look whether the device is connected and its driver is loaded",
    errno.ENXIO: "{where}: no answer at that address; look at wiring, supply and address of the device",
    errno.EREMOTEIO: "{where}: no answer at that address; look at wiring, supply and address of the device",
    errno.ETIMEDOUT: "{where}: no answer in time; the bus is held up, look at its wiring and pull-ups",
    errno.EIO: "{where}: the transfer failed; look at wiring, pull-ups and supply of the device",
    errno.EAGAIN: "{where}: there is nothing to read now; it is switched off, or has not measured yet",
    errno.ENODATA: "{where}: there is nothing to read now; it is switched off, or has not measured yet",
    errno.EBUSY: "{where} is in use; look which driver or program holds it",
}


def _permission_remedy(path: str) -> str:
    rules = UDEV_RULES + next(file for part, file in _RULES.items() if part in path)
    for prefix, group in _GROUPS.items():
        if prefix in path:
            return (
                f"add the user to the group {group} (sudo usermod -aG {group} {_user()}), or to skyrack with the udev "
                f"rules of {rules}, and log in again"
            )
    if "/watchdog" in path:
        return f"it is for root: start the executive as root, or install the udev rules of {rules}"
    return f"install the udev rules of {rules} and add the user to the group skyrack"


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user {os.geteuid()}"


_HERE = Host()


def host_of(environment: DeviceEnvironment) -> Host:
    """The host that a run attached, or this machine."""
    return cast("Host", environment.attachments.get(ATTACHMENT, _HERE))


def attach(host: Host) -> Mapping[str, object]:
    """The attachment that makes drivers see another host."""
    return {ATTACHMENT: host}
