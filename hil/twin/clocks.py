"""A satellite whose clock is off: it sees the same plant at times of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.plant.link import Sample

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.plant.link import PlantLink

TIME_ACTUATOR = ".at_seconds"


class ShiftedLink:
    """A :class:`hil.plant.link.PlantLink` for a board whose clock is ``offset_seconds`` ahead.

    A reading is stamped by the board that takes it, and a terminal follows the clock of the board that commands it. So
    both are of the board's time; what a GNSS receiver says of the time is a value like others, and stays true.
    """

    def __init__(self, link: PlantLink, offset_seconds: float) -> None:
        self._link = link
        self._offset = offset_seconds

    def read(self, satellite: str, key: str) -> Sample:
        """One sensor's truth."""
        value, time = self._link.read(satellite, key)
        return Sample(value, time + self._offset)

    def sensors(self, satellite: str) -> Mapping[str, float]:
        """All sensors of a satellite."""
        return self._link.sensors(satellite)

    def device_faults(self, satellite: str) -> Mapping[str, float]:
        """Faults that are laid on the satellite's devices."""
        return self._link.device_faults(satellite)

    def actuate(self, satellite: str, values: Mapping[str, float]) -> None:
        """Set actuators."""
        shifted = {key: value - self._offset * key.endswith(TIME_ACTUATOR) for key, value in values.items()}
        self._link.actuate(satellite, shifted)
