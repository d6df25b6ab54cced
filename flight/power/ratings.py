"""What each switched load may draw, and the order in which loads go."""

from __future__ import annotations

from flight.power.protection import LoadRating
from skyrack.satellite import SatelliteFile

# A laser terminal is the way to be heard: it goes after the rack.
_LASER_PRIORITY = 90


def load_ratings(satellite: SatelliteFile) -> list[LoadRating]:
    """Ratings of everything behind a switch, in the order of the satellite file."""
    return [
        *(
            LoadRating(load.name, load.watts, load.priority, load.sheddable, is_retried=load.priority == 0)
            for load in satellite.loads
        ),
        *(LoadRating(node.name, node.peak_watts, node.priority, sheddable=True) for node in satellite.nodes),
        *(
            LoadRating(laser.name, laser.watts, _LASER_PRIORITY, sheddable=True, is_retried=True)
            for laser in satellite.lasers
        ),
    ]
