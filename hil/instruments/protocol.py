"""What a bench asks of an instrument: to play a quantity of the plant, within limits, and to say what it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, cast

from flight.hal import Reading
from skyrack.files import suggest

if TYPE_CHECKING:
    from hil.boards.file import BenchInstrument
    from hil.plant.link import PlantLink

GROUP: Final = "skyrack.instruments"


class InstrumentError(Exception):
    """An instrument does not do what it was asked; the message names it, and says what would be right.

    ``lasting`` is set where trying again cannot help: settings that do not fit, another instrument at the address.
    """

    def __init__(self, message: str, *, lasting: bool = False) -> None:
        super().__init__(message)
        self.lasting = lasting


class Measured(NamedTuple):
    """What an instrument measures at its terminals."""

    volts: float
    amperes: float

    @property
    def watts(self) -> float:
        """Power."""
        return self.volts * self.amperes


class Instrument(Protocol):
    """A supply or a load. Every method raises InstrumentError when the instrument cannot be had or refuses."""

    name: str

    async def open(self) -> str:
        """Connect, check what answers, switch off, set protections; returns the instrument's name for itself.

        It may be called again after an error: everything is set anew.
        """
        ...

    async def set_watts(self, watts: float) -> float:
        """Play so many real watts, and be on; what is beyond the limits is cut. Returns what was set."""
        ...

    async def measure(self) -> Measured:
        """Measure at the terminals."""
        ...

    async def trip(self) -> str:
        """Why its protection switched it off, such as "over-voltage"; "" when it did not."""
        ...

    async def clear_trip(self) -> None:
        """Let it be switched on again."""
        ...

    async def off(self) -> None:
        """Switch off."""
        ...

    async def close(self) -> None:
        """Let go of the connection; never raises."""
        ...


class InstrumentFactory(Protocol):
    """What an entry point of ``skyrack.instruments`` is."""

    def __call__(self, name: str, settings: Mapping[str, object]) -> Instrument:
        """Check the settings; nothing is connected yet. Raises DeviceError."""
        ...


def load_instrument(bench: BenchInstrument) -> Instrument:
    """The instrument that a bench file describes.

    Raises:
        InstrumentError: no such driver is installed.
        DeviceError: its settings do not fit.
    """
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if bench.driver not in found:
        problem = f'{bench.name}: no instrument "{bench.driver}" is installed; {suggest(bench.driver, found)}'
        raise InstrumentError(problem, lasting=True)
    factory = cast("InstrumentFactory", found[bench.driver].load())
    return factory(bench.name, bench.settings)


def sense_of(link: PlantLink, follows: str) -> Callable[[], Reading[float]]:
    """What ``follows`` of a bench file names: "sat-1.array.watts" is the sensor "array.watts" of "sat-1"."""
    satellite, _, key = follows.partition(".")

    def sense() -> Reading[float]:
        sample = link.read(satellite, key)
        return Reading(sample.value, sample.mission_time_seconds)

    return sense
