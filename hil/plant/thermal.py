"""The thermal network of every satellite: heat capacities, conductances, radiators; one implicit step.

    C_i dT_i/dt = Q_i + sum_j G_ij (T_j - T_i) - e_i T_i^4

with e_i = emissivity * Stefan-Boltzmann * area. One step solves the linearly implicit Euler equation

    (C/h + G + J) u = Q - G T - e T^4,     T <- T + u,

where J is the slope 4 e T^3 of the radiated power. It is stable at any step length h, and conserves energy to
rounding, because the heat that counts as radiated is the one in the equation, e T^4 + J u (Hairer and Wanner, Solving
Ordinary Differential Equations II, section IV.7: a linearly implicit method stays consistent with an old Jacobian).
So the inverse of the matrix is kept, and made anew only for satellites whose conductances changed or whose slope has
moved by more than `SLOPE_TOLERANCE`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hil.plant.frames import Array

SLOPE_TOLERANCE = 0.02


class ThermalNetwork:
    """Temperatures (kelvin) of all nodes of all satellites, shaped (satellite, node)."""

    def __init__(self, heat_capacity: Array, conductance: Array, radiance: Array, temperature: Array) -> None:
        """Set up.

        Args:
            heat_capacity: (satellite, node), J/K, positive.
            conductance: (satellite, node, node), W/K, symmetric; the diagonal is ignored.
            radiance: (satellite, node), emissivity * Stefan-Boltzmann * area, W/K^4.
            temperature: (satellite, node), K, at the start.
        """
        self.heat_capacity = heat_capacity
        self.radiance = radiance
        self.temperature = temperature.copy()
        self._laplacian = np.zeros_like(conductance)
        self._inverse = np.zeros_like(conductance)
        self._slope = np.zeros_like(radiance)
        self._linearised_at = temperature.copy()
        self._band = np.full_like(radiance, np.inf)
        self._step_seconds = np.nan
        self._stale = np.ones(len(heat_capacity), dtype=bool)
        self._any_stale = True
        self.set_conductance(slice(None), conductance)

    def set_conductance(self, satellites: slice | int | NDArray[np.bool_], conductance: Array) -> None:
        """Change the conductances of some satellites (a pump's flow)."""
        laplacian = -conductance
        diagonal = np.arange(conductance.shape[-1])
        laplacian[..., diagonal, diagonal] = 0.0
        laplacian[..., diagonal, diagonal] = -laplacian.sum(axis=-1)
        self._laplacian[satellites] = laplacian
        self._stale[satellites] = True
        self._any_stale = True

    def set_radiance(self, satellite: int, node: int, radiance: float) -> None:
        """Change how a node radiates (a radiator lost), W/K^4."""
        self.radiance[satellite, node] = radiance
        self._stale[satellite] = True
        self._any_stale = True

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All state but conductances, by name; to be written over in place, before :meth:`restored`."""
        return {
            "thermal.temperature": self.temperature,
            "thermal.linearised_at": self._linearised_at,
            "thermal.stale": self._stale,
            "fault.radiance": self.radiance,
        }

    def restored(self, step_seconds: float, stale: NDArray[np.bool_]) -> None:
        """Linearise where it was done before, so that what follows is the same to the last bit.

        Args:
            step_seconds: length of the last step.
            stale: rows that are to be linearised anew at the next.
        """
        temperature = self.temperature.copy()
        self.temperature[...] = self._linearised_at
        self._step_seconds = np.nan
        self._refresh(step_seconds)
        self.temperature[...] = temperature
        self._stale[:] = stale
        self._any_stale = bool(stale.any())

    def stored_joules(self) -> Array:
        """Heat content per satellite, above absolute zero."""
        stored: Array = np.einsum("si,si->s", self.heat_capacity, self.temperature)
        return stored

    def step(self, heat: Array, step_seconds: float) -> Array:
        """Advance by one step under the given heat (W, per node); returns what each node radiated, W."""
        self._refresh(step_seconds)
        temperature = self.temperature
        emitted = temperature * temperature
        emitted *= emitted
        emitted *= self.radiance
        right = heat - emitted
        right -= np.matvec(self._laplacian, temperature)
        change = np.matvec(self._inverse, right)
        temperature += change
        change *= self._slope
        emitted += change
        return emitted

    def _refresh(self, step_seconds: float) -> None:
        temperature = self.temperature
        if step_seconds != self._step_seconds:
            self._step_seconds = step_seconds
            self._stale[:] = True
            self._any_stale = True
        moved = temperature - self._linearised_at
        np.abs(moved, out=moved)
        moved -= self._band
        if np.maximum.reduce(moved, axis=None) > 0.0:
            self._stale |= (moved > 0.0).any(axis=1)
            self._any_stale = True
        if not self._any_stale:
            return
        rows = self._stale
        slope = 4.0 * self.radiance[rows] * temperature[rows] ** 3
        matrix = self._laplacian[rows].copy()
        diagonal = np.arange(matrix.shape[-1])
        matrix[:, diagonal, diagonal] += self.heat_capacity[rows] / step_seconds + slope
        self._inverse[rows] = np.linalg.inv(matrix)
        self._slope[rows] = slope
        self._linearised_at[rows] = temperature[rows]
        # The slope goes with the cube of the temperature.
        band = temperature[rows] * (SLOPE_TOLERANCE / 3.0)
        self._band[rows] = np.where(self.radiance[rows] > 0.0, band, np.inf)
        rows[:] = False
        self._any_stale = False
