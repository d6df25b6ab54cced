"""What simulated devices share: the way to the plant, noise, bias, and the faults that are laid on them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from flight.hal import DeviceEnvironment, DeviceError, Quality, Reading
from hil.plant.link import PlantKeyError, plant_link
from skyrack.files import suggest

T = TypeVar("T")
Settings = Mapping[str, object]

# A frame may be late by a step or two of mission time, and by a second of the host's.
STALE_MISSION_SECONDS = 5.0
STALE_WALL_SECONDS = 1.0


class Instrument:
    """What all simulated devices share: the plant, settings, a random stream of their own, the faults laid on them."""

    def __init__(
        self, name: str, settings: Settings, environment: DeviceEnvironment, noise: float, bias: float
    ) -> None:
        unknown = [key for key in settings if key not in ("noise", "bias")]
        if unknown:
            raise DeviceError(f'{name}: no setting "{unknown[0]}"; {suggest(unknown[0], ("noise", "bias"))}')
        self.name = name
        self.satellite = environment.satellite
        self.clock = environment.clock
        self.link = plant_link(environment.attachments)
        self.rng = random.Random(environment.rng.getrandbits(64))
        self.noise = _number(name, "noise", settings.get("noise", noise))
        # What was built amiss is drawn once, unless the file says it.
        given = settings.get("bias")
        self.bias = self.rng.gauss(0.0, bias) if given is None else _number(name, "bias", given)
        self._stale_after = STALE_MISSION_SECONDS + STALE_WALL_SECONDS * environment.clock.rate
        self._time = -math.inf
        self._faults: Mapping[str, float] = {}

    def sense(self, key: str) -> float:
        """A truth of the plant; its time counts as the reading's."""
        try:
            sample = self.link.read(self.satellite, key)
        except PlantKeyError as error:
            raise DeviceError(f"{self.name}: {error}") from None
        self._time = sample.mission_time_seconds
        return sample.value

    def sense_together(self, keys: Sequence[str]) -> list[float]:
        """Several truths of one moment: the plant may go on while they are read, and then they are read again."""
        while True:
            values = [self.sense(keys[0])]
            began = self._time
            values += [self.sense(key) for key in keys[1:]]
            # Frames only follow one another: when the last is of the first one's time, so are all between.
            if self._time == began:
                return values

    def actuate(self, values: Mapping[str, float]) -> None:
        """Set actuators of the plant."""
        try:
            self.link.actuate(self.satellite, values)
        except PlantKeyError as error:
            raise DeviceError(f"{self.name}: {error}") from None

    def look_for_faults(self) -> bool:
        """Ask what faults are laid on the satellite's devices; whether there are any."""
        self._faults = self.link.device_faults(self.satellite)
        return bool(self._faults)

    def fault(self, kind: str) -> float:
        """Strength of a fault on this device, as of the last look; zero is none."""
        return self._faults.get(f"{self.name}.{kind}", 0.0)

    def error(self) -> float:
        """A draw of noise and bias, in the device's unit."""
        sigma, bias = self.noise, self.bias
        if self._faults:
            sigma = math.hypot(sigma, self.fault("noise"))
            bias += self.fault("bias")
        return bias + self.rng.gauss(0.0, sigma)

    def reading(self, value: T) -> Reading[T]:
        """A value made of what was sensed last: as old as that is, and to be trusted as far."""
        sensed_at = self._time
        if sensed_at == -math.inf or (self._faults and self.fault("silent")):
            quality = Quality.ABSENT
        elif self.clock.now() - sensed_at > self._stale_after:
            quality = Quality.STALE
        else:
            quality = Quality.GOOD
        return Reading(value, sensed_at, quality)


class Channel(Generic[T]):
    """One measured quantity of an instrument, through its failures."""

    def __init__(self, instrument: Instrument, measure: Callable[[], T]) -> None:
        self._instrument = instrument
        self._measure = measure
        self._last: Reading[T] | None = None

    def read(self) -> Reading[T]:
        """Measure; a silent device repeats its last reading as absent, a stuck one passes it off as new."""
        instrument = self._instrument
        last = self._last
        if instrument.look_for_faults() and last is not None:
            if instrument.fault("silent"):
                return Reading(last.value, last.mission_time_seconds, Quality.ABSENT)
            if instrument.fault("stuck"):
                return Reading(last.value, instrument.clock.now())
        self._last = reading = instrument.reading(self._measure())
        return reading


def _number(name: str, key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DeviceError(f"{name}: {key} = {value!r} must be a number")
    return float(value)
