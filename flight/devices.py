"""Finds drivers: the satellite file says which one serves a device, the run says which one serves the others."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, TypeVar, cast

from flight.hal import DeviceEnvironment, DeviceError, DeviceFactory
from skyrack.files import suggest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from skyrack.satellite import Device

T = TypeVar("T")

GROUP = "skyrack.devices"


@cache
def _drivers() -> Mapping[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def driver_names() -> list[str]:
    """Names of the installed drivers, sorted."""
    return sorted(_drivers())


@cache
def load_driver(driver: str) -> DeviceFactory:
    """Import a driver.

    Raises:
        DeviceError: no such driver is installed, or it cannot be imported.
    """
    entry = _drivers().get(driver)
    if entry is None:
        problem = f'no driver "{driver}" is installed in the entry points {GROUP}; {suggest(driver, _drivers())}'
        raise DeviceError(problem)
    try:
        return cast("DeviceFactory", entry.load())
    except (ImportError, AttributeError) as error:
        raise DeviceError(f'the driver "{driver}" ({entry.value}) cannot be imported: {error}') from error


def kind_of(device: str) -> str:
    """Kind of a device, from its name: "load.node-1" is a "load"."""
    return device.partition(".")[0]


@dataclass(slots=True)
class DeviceRegistry:
    """The devices of one service: made when first asked for, then kept.

    ``chosen`` comes from the satellite file and goes first; ``defaults`` are the run's drivers by kind.
    """

    environment: DeviceEnvironment
    chosen: Mapping[str, Device]
    defaults: Mapping[str, str]
    _made: dict[str, Any] = field(default_factory=dict)

    def get(self, name: str, protocol: type[T] | None = None) -> T:
        """The device of this name; ``protocol``, one of :mod:`flight.hal`, is for the reader and the type checker.

        Raises:
            DeviceError: no driver serves it, or the driver cannot be made; the sentence says which there are.
        """
        if name not in self._made:
            self._made[name] = self._make(name)
        return cast("T", self._made[name])

    def _make(self, name: str) -> object:
        device = self.chosen.get(name)
        driver = device.driver if device is not None else self.defaults.get(kind_of(name))
        if driver is None:
            problem = f'no driver serves the device "{name}": name one in the satellite file under [devices."{name}"], '
            raise DeviceError(f"{problem}or in the board file under default_drivers.{kind_of(name)}")
        settings = dict(device.settings) if device is not None else {}
        try:
            factory = load_driver(driver)
            return factory(name, settings, replace(self.environment, device=self.get))
        except (DeviceError, LookupError, ValueError, TypeError, OSError) as error:
            # Drivers are other people's code: their settings are theirs to check, and what they raise is theirs.
            # str of a LookupError is its message in quotes.
            reason = str(error.args[0] if isinstance(error, LookupError) and error.args else error)
            told = reason if reason.startswith(f"{name}: ") else f"{name}: {reason}"
            raise DeviceError(told) from error

    async def close(self) -> None:
        """Close the devices that can be closed."""
        made, self._made = self._made, {}
        for device in made.values():
            close = getattr(device, "close", None)
            if close is not None:
                await close()
