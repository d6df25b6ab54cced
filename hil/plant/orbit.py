"""Where the satellites are: SGP4 at knots, cubic Hermite between them.

SGP4 comes from the `sgp4` package (checked by its authors against Vallado's vectors). It is evaluated every
`KNOT_SECONDS` only; position and velocity at two neighbouring knots fix the polynomial between them, which agrees
with SGP4 itself to ten centimetres (a test holds it). This makes
a thousand satellites at one-second steps ten times cheaper.
"""

from collections.abc import Sequence

import numpy as np
from sgp4.api import SGP4_ERRORS, Satrec, SatrecArray

from hil.plant.frames import Array, julian_day

KNOT_SECONDS = 20.0


class OrbitError(ValueError):
    """SGP4 refuses: the orbit has decayed or the elements make no sense."""


class Orbits:
    """Positions and velocities of a group of satellites at any times, in TEME, metres and m/s."""

    def __init__(self, satellites: Sequence[Satrec], names: Sequence[str]) -> None:
        self._satellites = tuple(satellites)
        self._array = SatrecArray(list(satellites))
        self.names = tuple(names)

    def __len__(self) -> int:
        return len(self.names)

    def states(self, times: Array) -> tuple[Array, Array]:
        """Position and velocity by SGP4 itself, shaped (time, satellite, 3)."""
        day, fraction = julian_day(times)
        errors, position, velocity = self._array.sgp4(np.atleast_1d(day), np.atleast_1d(fraction))
        if errors.any():
            satellite, time = np.argwhere(errors)[0]
            raise self._error(satellite, errors[satellite, time])
        return np.moveaxis(position, 1, 0) * 1e3, np.moveaxis(velocity, 1, 0) * 1e3

    def state(self, satellite: int, time_seconds: float) -> tuple[Array, Array]:
        """Position and velocity of one satellite at one time, by SGP4 itself."""
        day, fraction = julian_day(time_seconds)
        error, position, velocity = self._satellites[satellite].sgp4(float(day), float(fraction))
        if error:
            raise self._error(satellite, error)
        return np.array(position) * 1e3, np.array(velocity) * 1e3

    def _error(self, satellite: int, error: int) -> OrbitError:
        reason = SGP4_ERRORS.get(int(error), "unknown error")
        return OrbitError(f"orbit of {self.names[satellite]}: {reason}; elements of an orbit above 150 km are wanted")

    def positions(self, start_seconds: float, step_seconds: float, steps: int) -> Array:
        """Positions on an even grid of times, shaped (steps, satellite, 3)."""
        times = start_seconds + step_seconds * np.arange(steps, dtype=np.float64)
        if step_seconds >= KNOT_SECONDS:
            return self.states(times)[0]
        # Knots lie on multiples of the interval, so that a position does not depend on where a block begins.
        interval = np.floor(times / KNOT_SECONDS).astype(np.int64)
        first, last = int(interval[0]), int(interval[-1])
        position, velocity = self.states(KNOT_SECONDS * np.arange(first, last + 2, dtype=np.float64))
        weights = hermite_weights(times / KNOT_SECONDS - interval, KNOT_SECONDS)
        result: Array = np.empty((steps, len(self), 3))
        for k in range(last - first + 1):
            rows = interval == first + k
            corners = np.stack([position[k], position[k + 1], velocity[k], velocity[k + 1]])
            result[rows] = np.tensordot(weights[rows], corners, axes=1)
        return result


def hermite_weights(u: Array, h: float) -> Array:
    """Weights of (position, next position, velocity, next velocity) at the share u of an interval of h seconds."""
    rise = u * u * (3.0 - 2.0 * u)
    return np.stack([1.0 - rise, rise, h * u * (1.0 - u) ** 2, -h * u * u * (1.0 - u)], axis=-1)
