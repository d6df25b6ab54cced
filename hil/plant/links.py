"""A satellite's links as they truly are: the best of its lasers, and its antenna."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.plant.constants import SPEED_OF_LIGHT
from hil.plant.link import DOWN
from skyrack.backhaul import LinkState

if TYPE_CHECKING:
    from hil.plant.plant import Plant


def optical(plant: Plant, index: int) -> LinkState:
    """The best laser link of a satellite."""
    terminals = plant.terminals
    rows = terminals.of_satellite.get(index)
    if rows is None or plant.outage["optical"][index]:
        return DOWN
    return terminals.link(max(rows, key=lambda row: float(terminals.rate[row])))


def antenna(plant: Plant, index: int) -> LinkState:
    """The antenna link of a satellite, to the station that sees it best."""
    block, row = plant.block_row
    station = int(block.station[row, index])
    if station < 0 or plant.outage["antenna"][index]:
        return DOWN
    return LinkState(
        up=True,
        rate_bits_per_second=float(plant.antenna_rate[index]),
        delay_seconds=float(block.station_distance[row, index]) / SPEED_OF_LIGHT,
        via=plant.geometry.stations.names[station],
    )
