"""Ground antennas: which station sees a satellite highest, and how far it is."""

import numpy as np
from numpy.typing import NDArray

from hil.plant.frames import Array, geodetic_to_itrf, geodetic_up, itrf_to_teme
from skyrack.satellite import GroundStation


class Stations:
    """Ground stations, fixed to the Earth."""

    def __init__(self, stations: tuple[GroundStation, ...]) -> None:
        latitude = np.radians([station.latitude_degrees for station in stations])
        longitude = np.radians([station.longitude_degrees for station in stations])
        altitude = np.array([station.altitude_meters for station in stations])
        self.names = tuple(station.name for station in stations)
        self._place = geodetic_to_itrf(latitude, longitude, altitude)
        self._up = geodetic_up(latitude, longitude)
        self._sin_mask = np.sin(np.radians([station.minimum_elevation_degrees for station in stations]))

    def best(self, satellites: Array, times: Array) -> tuple[NDArray[np.int64], Array]:
        """The station that sees each satellite highest above its mask, -1 for none, and the distance to it.

        Args:
            satellites: positions in TEME, (time, satellite, 3), m.
            times: mission times, (time,).

        Returns:
            Station's index and distance (m), each (time, satellite).
        """
        steps, count, _ = satellites.shape
        if not self.names:
            return np.full((steps, count), -1, dtype=np.int64), np.zeros((steps, count))
        # Turning a few stations costs less than turning many satellites.
        place = itrf_to_teme(self._place[np.newaxis], times[:, np.newaxis])
        up = itrf_to_teme(self._up[np.newaxis], times[:, np.newaxis])
        transposed = np.swapaxes(satellites, 1, 2)
        height = up @ transposed
        height -= np.einsum("tsi,tsi->ts", up, place)[..., np.newaxis]
        squared = place @ transposed
        squared *= -2.0
        squared += np.einsum("tni,tni->tn", satellites, satellites)[:, np.newaxis]
        squared += np.einsum("tsi,tsi->ts", place, place)[..., np.newaxis]
        distance = np.sqrt(squared)
        height /= distance  # now the sine of the elevation
        height[height < self._sin_mask[:, np.newaxis]] = -2.0
        station = height.argmax(axis=1)
        index = station[:, np.newaxis]
        seen = np.take_along_axis(height, index, axis=1)[:, 0] > -2.0
        return np.where(seen, station, -1), np.take_along_axis(distance, index, axis=1)[:, 0]
