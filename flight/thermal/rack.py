"""What the rack and the rest of the satellite give off, from the satellite file and from power's report."""

from __future__ import annotations

from flight.thermal.budget import Rack
from flight.thermal.network import Heat
from skyrack.satellite import SatelliteFile
from skyrack.v1.power_pb2 import PowerStatus

# Without news from power for this long, no switch is believed to be open.
_NEWS_SECONDS = 5.0


def rack_of(satellite: SatelliteFile) -> Rack:
    """Heat at rated draw."""
    peaks = [node.peak_watts for node in satellite.nodes]
    panel = satellite.bus_watts + satellite.antenna.watts
    panel += sum(load.watts for load in satellite.loads) + sum(laser.watts for laser in satellite.lasers)
    return Rack(sum(peaks), max(peaks), panel, satellite.thermal.pump_watts)


class RackHeat:
    """What the nodes draw and whether they are switched on, as power last told."""

    def __init__(self, satellite: SatelliteFile) -> None:
        self._rack = rack_of(satellite)
        self._draw = {node.name: 0.0 for node in satellite.nodes}
        self._open: dict[str, bool] = {}
        self._heard_at = float("-inf")

    def update(self, now: float, status: PowerStatus) -> None:
        """Take power's report."""
        self._heard_at = now
        for load in status.loads:
            if load.load in self._draw:
                self._draw[load.load] = load.draw_watts
                self._open[load.load] = not load.switch_closed

    def is_open(self, node: str, now: float) -> bool:
        """Whether the node's switch was lately seen open."""
        return now - self._heard_at <= _NEWS_SECONDS and self._open.get(node, False)

    def heat(self, duty_ratio: float, heaters: dict[str, float]) -> Heat:
        """Heat that enters the network now; a pump's power goes with the cube of its duty."""
        pump_watts = self._rack.loop_watts * duty_ratio**3
        return Heat(self._draw, heaters, pump_watts, self._rack.panel_watts)
