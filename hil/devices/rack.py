"""What rack nodes that are not real have in common: their ratings, their switch in the plant, the draw they report."""

from __future__ import annotations

from dataclasses import dataclass

from flight.hal import DeviceEnvironment, DeviceError
from hil.plant.link import PlantLink, plant_link
from skyrack.files import suggest


@dataclass(frozen=True, slots=True)
class Ratings:
    """A node's electrical ratings and size."""

    idle_watts: float
    peak_watts: float
    cores: int

    @classmethod
    def of(cls, name: str, environment: DeviceEnvironment) -> Ratings:
        """Ratings of the device "node.<name>", from the satellite's design.

        Raises:
            DeviceError: the design has no such node.
        """
        if environment.design is None:
            raise DeviceError(f"{name}: a rack node needs the satellite's design, and the run gives none")
        nodes = {node.name: node for node in environment.design.nodes}
        node = nodes.get(name.removeprefix("node."))
        if node is None:
            raise DeviceError(f"{name}: the satellite has no such node; {suggest(name.removeprefix('node.'), nodes)}")
        return cls(node.idle_watts, node.peak_watts, node.cores)

    def draw_watts(self, busy_cores: float, cap_watts: float) -> float:
        """Draw with so many cores busy: idle to peak in proportion, and never over the cap."""
        utilisation = min(1.0, busy_cores / self.cores)
        return max(self.idle_watts, min(cap_watts, self.idle_watts + utilisation * (self.peak_watts - self.idle_watts)))


class Supply:
    """A node's side of its load switch. Without a plant the switch is always closed and nobody hears of the draw."""

    def __init__(self, name: str, environment: DeviceEnvironment) -> None:
        self._satellite = environment.satellite
        self._node = name.removeprefix("node.")
        self._link: PlantLink | None = (
            plant_link(environment.attachments) if "plant" in environment.attachments else None
        )
        self._told = -1.0
        self._was_closed = True

    def is_closed(self) -> bool:
        """Whether the node has power. Until the plant has spoken, it has."""
        if self._link is None:
            return True
        # Not a number before the plant's first frame: not open.
        closed = not self._link.read(self._satellite, f"load.{self._node}.closed").value < 0.5
        if closed and not self._was_closed:
            self._told = -1.0
        self._was_closed = closed
        return closed

    def tell_draw(self, watts: float) -> None:
        """Tell the plant what the node draws."""
        if self._link is not None and abs(watts - self._told) > 1e-3 * max(1.0, watts):
            self._told = watts
            self._link.actuate(self._satellite, {f"node.{self._node}.draw_watts": watts})
