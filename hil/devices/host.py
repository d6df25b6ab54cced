"""The computer that drivers run on: where its files are, how its I2C buses are opened, and who does slow work.

Tests, and boards that are looked at from elsewhere, give another root and other buses through the attachment
``host``; without one, drivers see the machine they run on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar, cast

from flight.hal import DeviceEnvironment

T = TypeVar("T")

ATTACHMENT = "host"
SLOW_SECONDS = 1.0


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
    from smbus2 import SMBus

    return cast("I2cBus", SMBus(number))


@dataclass
class Host:
    """A computer. Files are found below ``root``; a bus is opened once and shared by its drivers."""

    root: Path = Path("/")
    open_i2c: Callable[[int], I2cBus] = _open_smbus
    _buses: dict[int, I2cBus] = field(default_factory=dict)
    _workers: dict[str, ThreadPoolExecutor] = field(default_factory=dict)

    def path(self, absolute: str) -> Path:
        """A path of that computer, such as ``/sys/class/hwmon``."""
        return self.root / absolute.lstrip("/")

    def i2c(self, number: int) -> I2cBus:
        """The bus ``/dev/i2c-<number>``. Raises OSError when it cannot be opened."""
        if number not in self._buses:
            self._buses[number] = self.open_i2c(number)
        return self._buses[number]

    async def on_bus(self, bus: str, work: Callable[[], T], timeout_seconds: float = SLOW_SECONDS) -> T:
        """Do slow work in the one thread that serves a bus, so that control is never held up by it.

        Raises:
            TimeoutError: it took too long; it goes on in its thread, and others of that bus wait for it there.
        """
        if bus not in self._workers:
            self._workers[bus] = ThreadPoolExecutor(max_workers=1, thread_name_prefix=bus)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout_seconds):
            return await loop.run_in_executor(self._workers[bus], work)


_HERE = Host()


def host_of(environment: DeviceEnvironment) -> Host:
    """The host that a run attached, or this machine."""
    return cast("Host", environment.attachments.get(ATTACHMENT, _HERE))


def attach(host: Host) -> Mapping[str, object]:
    """The attachment that makes drivers see another host."""
    return {ATTACHMENT: host}
