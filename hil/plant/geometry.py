"""What the sky does to the satellites, worked out for a block of steps at once.

Orbits, sunlight, shadow, albedo and ground contacts do not depend on what the satellites do, so they are computed
ahead for many steps in a few large array operations; a step then only looks up its row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sgp4.api import Satrec

from hil.plant import array
from hil.plant.antenna import Stations
from hil.plant.constants import EARTH_ALBEDO, EARTH_INFRARED, EARTH_RADIUS_METERS
from hil.plant.eclipse import sunlit_fraction
from hil.plant.frames import Array
from hil.plant.orbit import Orbits
from hil.plant.sun import sun_teme
from skyrack.satellite import GroundStation, SatelliteFile

BLOCK_ELEMENTS = 32_768  # steps times satellites: small enough for the cache
BLOCK_STEPS = (16, 256)  # at least, at most

ARRAY_ABSORPTIVITY = 0.90  # triple-junction cells under cover glass (Gilmore, appendix A)
ARRAY_EMISSIVITY = 0.85  # both faces


@dataclass(frozen=True, slots=True)
class Block:
    """Steps of equal length; row k is the end of step k, at ``times[k]``. Arrays are (step, satellite)."""

    times: Array
    position: Array  # TEME, m, (step, satellite, 3)
    sunlit_ratio: Array
    array_light_watts: Array  # light on the array's rated area: electrical power at the rated temperature
    array_heat_watts: Array  # absorbed by the array, before electricity is taken away
    radiator_heat_watts: Array  # absorbed by the radiator
    absorbed_joules: Array  # by both, in the step
    station: NDArray[np.int64]
    station_distance: Array


class Geometry:
    """Makes blocks."""

    def __init__(
        self, satrecs: Sequence[Satrec], designs: Sequence[tuple[str, SatelliteFile]], stations: Sequence[GroundStation]
    ) -> None:
        files = [design for _, design in designs]
        self.orbits = Orbits(satrecs, [name for name, _ in designs])
        self.stations = Stations(tuple(stations))
        low, high = BLOCK_STEPS
        self.block_steps = int(np.clip(BLOCK_ELEMENTS // len(files), low, high))
        self._satrecs = tuple(satrecs)
        self._area = np.array([design.array.area_m2 for design in files])
        self.rated_area = self._area * [design.array.efficiency_ratio * design.array.ageing_ratio for design in files]
        self._tracking = np.array([design.array.tracking for design in files])
        thermal = [design.thermal for design in files]
        area = np.array([t.radiator_area_m2 * t.radiator_faces for t in thermal])
        emissivity = np.array([t.radiator_emissivity_ratio for t in thermal])
        absorptivity = np.array([t.radiator_absorptivity_ratio for t in thermal])
        earth_area = area * [t.radiator_earth_view_ratio for t in thermal]
        self._infrared_watts = earth_area * emissivity * EARTH_INFRARED
        self._albedo_area = earth_area * absorptivity * EARTH_ALBEDO
        self._sun_area = area * absorptivity * [t.radiator_sun_view_ratio for t in thermal]

    def block(self, start_seconds: float, step_seconds: float, steps: int | None = None) -> Block:
        """The next steps after ``start_seconds``."""
        steps = self.block_steps if steps is None else steps
        first = start_seconds + step_seconds
        times = first + step_seconds * np.arange(steps, dtype=np.float64)
        position = self.orbits.positions(first, step_seconds, steps)
        sun = sun_teme(times)
        sun_distance = np.linalg.norm(sun, axis=-1)
        direction = sun / sun_distance[:, np.newaxis]
        lit = sunlit_fraction(position, sun[:, np.newaxis])
        radius = np.sqrt(np.einsum("tni,tni->tn", position, position))
        nearness = (EARTH_RADIUS_METERS / radius) ** 2
        irradiance = array.sunlight(sun_distance)[:, np.newaxis]
        cos_incidence = self._cos_incidence(times, position, direction)
        # Dayside below: cosine of the Sun's zenith angle at the subsatellite point.
        zenith = np.maximum(0.0, np.einsum("tni,ti->tn", position, direction) / radius)
        # A tumbling plate's mean view of the Earth: the share of its sky that the Earth fills.
        earth_share = 0.5 * (1.0 - np.sqrt(np.maximum(0.0, 1.0 - nearness)))
        station, distance = self.stations.best(position, times)
        array_heat = self._area * (
            irradiance * lit * cos_incidence * ARRAY_ABSORPTIVITY
            + earth_share * (2.0 * ARRAY_EMISSIVITY * EARTH_INFRARED)
        )
        radiator_heat = nearness * (self._infrared_watts + self._albedo_area * irradiance * zenith)
        radiator_heat += self._sun_area * irradiance * lit
        return Block(
            times=times,
            position=position,
            sunlit_ratio=lit,
            array_light_watts=array.light(irradiance, lit, cos_incidence, self.rated_area),
            array_heat_watts=array_heat,
            radiator_heat_watts=radiator_heat,
            absorbed_joules=(array_heat + radiator_heat) * step_seconds,
            station=station,
            station_distance=distance,
        )

    def state(self, satellite: int, time_seconds: float) -> tuple[Array, Array]:
        """Position and velocity of one satellite at one time, by SGP4 itself."""
        return self.orbits.state(satellite, time_seconds)

    @property
    def orbit_seconds(self) -> float:
        """The longest orbit's period."""
        return 60.0 * max(2.0 * np.pi / float(satrec.no_kozai) for satrec in self._satrecs)

    def satrec(self, satellite: int) -> Satrec:
        """SGP4's record of one satellite."""
        return self._satrecs[satellite]

    def _cos_incidence(self, times: Array, position: Array, sun: Array) -> Array:
        if self._tracking.all():
            return np.ones(1)
        _, velocity = self.orbits.states(times[:1])
        normal = np.cross(position[0], velocity[0])
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        # The orbit's plane turns by a degree a day at most: one normal serves the block.
        fixed = np.abs(np.einsum("ni,ti->tn", normal, sun))
        return np.where(self._tracking, 1.0, fixed)
