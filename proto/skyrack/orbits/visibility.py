"""Who sees whom: stations and satellites, satellites and each other past the Earth's edge."""

from __future__ import annotations

import math

from skyrack.orbits.constants import EARTH_RADIUS_METERS
from skyrack.orbits.frames import Geodetic, geodetic_to_itrf
from skyrack.orbits.vectors import Vector, dot, norm, subtract
from skyrack.satellite import GroundStation

# A laser beam must clear the atmosphere; 80 to 100 km are usual.
ATMOSPHERE_METERS = 80_000.0


class StationView:
    """A ground station's sky."""

    __slots__ = ("minimum_elevation_radians", "name", "position_meters", "up")

    def __init__(self, station: GroundStation) -> None:
        self.name = station.name
        self.minimum_elevation_radians = math.radians(station.minimum_elevation_degrees)
        place = Geodetic(station.latitude_degrees, station.longitude_degrees, station.altitude_meters)
        self.position_meters = geodetic_to_itrf(place)
        latitude, longitude = math.radians(place.latitude_degrees), math.radians(place.longitude_degrees)
        self.up = (
            math.cos(latitude) * math.cos(longitude),
            math.cos(latitude) * math.sin(longitude),
            math.sin(latitude),
        )

    def elevation_radians(self, satellite_itrf: Vector) -> float:
        """Geometric elevation of an Earth-fixed position over the station's horizon (no refraction)."""
        towards = subtract(satellite_itrf, self.position_meters)
        return math.asin(max(-1.0, min(1.0, dot(towards, self.up) / norm(towards))))

    def margin_radians(self, satellite_itrf: Vector) -> float:
        """Elevation over the station's minimum: positive in contact."""
        return self.elevation_radians(satellite_itrf) - self.minimum_elevation_radians


def line_of_sight(a: Vector, b: Vector, clearance_meters: float = ATMOSPHERE_METERS) -> bool:
    """Whether the straight path between two positions clears the Earth and its atmosphere."""
    along = subtract(b, a)
    squared = dot(along, along)
    share = 0.0 if squared == 0.0 else max(0.0, min(1.0, -dot(a, along) / squared))
    closest = (a[0] + share * along[0], a[1] + share * along[1], a[2] + share * along[2])
    return norm(closest) > EARTH_RADIUS_METERS + clearance_meters
