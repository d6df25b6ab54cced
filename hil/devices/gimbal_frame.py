"""The two frames of a gimbal on a bench. Pure arithmetic, and the plant's word.

A satellite's terminal turns through the sky by radians, and searches and tracks within milliradians of where its
partner is predicted. A gimbal on a bench has a partner that stands still, a lamp on the other side of the room, and
plays only the latter: its servos turn by what the commanded line of sight is off the *reference*, the line that follows
the partner across the sky. What the lamp stands askew by is what a terminal is built askew by.

With a plant, the reference is where the plant's own gimbal would look at the partner (:class:`PlantReference`). Without
one, it is where the terminal was sent when it last turned by more than the servos can, carried on at the commanded
rates (:class:`HeldReference`); it drifts from the partner's path by what a path curves within a control cycle.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

from hil.devices.instrument import Instrument

Offset = tuple[float, float]
"""(azimuth * cos(elevation), elevation), radians."""


class Line(NamedTuple):
    """A line of sight, as ``flight.hal.LaserReading`` defines its angles."""

    azimuth_radians: float
    elevation_radians: float

    def off(self, other: Line) -> Offset:
        """How far this line is off another one."""
        turned = math.remainder(self.azimuth_radians - other.azimuth_radians, 2.0 * math.pi)
        return turned * math.cos(other.elevation_radians), self.elevation_radians - other.elevation_radians

    def shifted(self, offset: Offset) -> Line:
        """The line that is off this one by so much."""
        azimuth = self.azimuth_radians + offset[0] / math.cos(self.elevation_radians)
        return Line(math.remainder(azimuth, 2.0 * math.pi), self.elevation_radians + offset[1])


class Command(NamedTuple):
    """What the terminal was told: a line of sight at a time, and rates (rad/s)."""

    line: Line
    rates: Offset
    at_seconds: float

    def at(self, now: float) -> Line:
        """Where it is to look now."""
        since = now - self.at_seconds
        azimuth = self.line.azimuth_radians + since * self.rates[0]
        return Line(azimuth, self.line.elevation_radians + since * self.rates[1])


class Reference(Protocol):
    """The line that follows the partner."""

    def command(self, command: Command, learned: Offset) -> None:
        """The terminal was told something; ``learned`` is where the servos last saw light."""
        ...

    def line(self, now: float) -> Line | None:
        """Where it is now; ``None`` while there is no partner near."""
        ...


class HeldReference:
    """See the module's docstring. ``reach_radians`` is how far the servos turn."""

    def __init__(self, reach_radians: float) -> None:
        self._reach = reach_radians
        self._held: Command | None = None

    def command(self, command: Command, learned: Offset) -> None:
        now = command.at_seconds
        held = self._held
        here = held.at(now) if held is not None else None
        if here is None or math.hypot(*command.line.off(here)) > self._reach:
            # Another partner. What is known of the misalignment is in the command, and not in the partner's path.
            here = command.line.shifted((-learned[0], -learned[1]))
        self._held = Command(here, command.rates, now)

    def line(self, now: float) -> Line | None:
        return self._held.at(now) if self._held is not None else None


class PlantReference:
    """Asks the plant, and carries on from its last step at the commanded rates."""

    def __init__(self, plant: Instrument) -> None:
        self._plant = plant
        self._keys = [
            f"{plant.name}.{key}" for key in ("partner", "partner_azimuth_radians", "partner_elevation_radians")
        ]
        self._rates: Offset = (0.0, 0.0)

    def command(self, command: Command, learned: Offset) -> None:
        self._rates = command.rates

    def line(self, now: float) -> Line | None:
        found, azimuth, elevation = self._plant.sense_together(self._keys)
        sensed = self._plant.reading(0.0)
        if not sensed.good or found < 0.5:
            return None
        return Command(Line(azimuth, elevation), self._rates, sensed.mission_time_seconds).at(now)
