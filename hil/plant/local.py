"""The plant in this process, for the twin and for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.plant.link import Sample
from skyrack.backhaul import LinkState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.plant.plant import Plant
    from hil.plant.ports import Ports


class LocalPlantLink:
    """A :class:`hil.plant.link.PlantLink` that calls the plant."""

    def __init__(self, plant: Plant) -> None:
        self.plant = plant
        self._ports: dict[str, Ports] = {}

    def read(self, satellite: str, key: str) -> Sample:
        """One sensor's truth. Raises PlantKeyError for a satellite or sensor that is not there."""
        plant = self.plant
        try:
            return Sample(self._ports[satellite].gauges[key](), plant.time)
        except KeyError:
            self._ports[satellite] = plant.ports(satellite)
            return Sample(plant.read(satellite, key), plant.time)

    def sensors(self, satellite: str) -> Mapping[str, float]:
        """All sensors of a satellite."""
        return self.plant.sensors(satellite)

    def device_faults(self, satellite: str) -> Mapping[str, float]:
        """Faults that are laid on the satellite's devices."""
        ports = self._ports.get(satellite)
        return self.plant.device_faults(satellite) if ports is None else ports.device_faults

    def actuate(self, satellite: str, values: Mapping[str, float]) -> None:
        """Set actuators at once. Raises PlantKeyError for a satellite or actuator that is not there."""
        for key, value in values.items():
            self.plant.actuate(satellite, key, value)

    def link(self, satellite: str, link: str) -> LinkState:
        """The satellite's "optical" or "antenna" link as it truly is."""
        return self.plant.link(satellite, link)
