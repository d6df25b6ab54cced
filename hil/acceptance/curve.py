"""The self-heating of a board, fitted: how many kelvin a watt, and how fast.

One heat capacity behind one thermal resistance (a lumped model: Incropera, Fundamentals of Heat and Mass Transfer, 5.1)

    tau dT/dt = T_0 + R P(t) - T

is linear in T_0, R and the temperature at the start for a given tau: the watts, filtered by the same lag, are one
column of a least-squares problem, and tau is found by a search in one dimension. Heating and cooling are fitted as one
curve, with the watts that were measured, so that a load that is not constant does no harm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
LEAST_SAMPLES = 8


@dataclass(frozen=True, slots=True)
class Curve:
    """A fit. ``kelvin_per_watt`` is per unit of what drove it, where that was not watts.

    ``ambient_celsius`` is what the board would come to without any load; ``residual_kelvin`` the root of the mean
    square of what the model does not explain.
    """

    time_constant_seconds: float
    kelvin_per_watt: float
    ambient_celsius: float
    residual_kelvin: float
    fitted_celsius: tuple[float, ...]


def fit(seconds: Sequence[float], watts: Sequence[float], celsius: Sequence[float]) -> Curve:
    """Fit the curve to samples in the order of time.

    Raises:
        ValueError: there is nothing to fit: too few samples, or a load that never changed.
    """
    time = np.asarray(seconds, dtype=float)
    load, temperature = np.asarray(watts, dtype=float), np.asarray(celsius, dtype=float)
    if len(time) < LEAST_SAMPLES or time[-1] <= time[0]:
        raise ValueError(f"{len(time)} samples are too few for a curve; {LEAST_SAMPLES} are needed")
    if np.ptp(load) <= 1e-9 * max(1.0, float(np.abs(load).max())):
        raise ValueError("the load never changed: there is no curve to fit")
    low, high = math.log(0.5 * float(np.median(np.diff(time)))), math.log(10.0 * float(time[-1] - time[0]))

    def error(log_tau: float) -> float:
        return _solve(time, load, temperature, math.exp(log_tau))[1]

    # The error may have more than one valley: a coarse look first, then the golden section in the deepest.
    grid = np.linspace(low, high, 40)
    best = int(np.argmin([error(value) for value in grid]))
    left, right = grid[max(0, best - 1)], grid[min(len(grid) - 1, best + 1)]
    while right - left > 1e-4:
        inner, outer = right - _GOLDEN * (right - left), left + _GOLDEN * (right - left)
        if error(inner) < error(outer):
            right = outer
        else:
            left = inner
    tau = math.exp(0.5 * (left + right))
    (ambient, resistance, _), residual, fitted = _solve(time, load, temperature, tau)
    return Curve(tau, resistance, ambient, residual, tuple(float(value) for value in fitted))


def _solve(
    time: NDArray[np.float64], load: NDArray[np.float64], temperature: NDArray[np.float64], tau: float
) -> tuple[tuple[float, float, float], float, NDArray[np.float64]]:
    """Least squares for a given time constant: (ambient, resistance, excess at the start), error, fitted curve."""
    lagged = np.empty_like(load)
    value = load[0]
    for index, step in enumerate(np.diff(time, prepend=time[0])):
        # The load over a step is what was measured at its end.
        value += (load[index] - value) * -math.expm1(-step / tau)
        lagged[index] = value
    columns = np.stack([np.ones_like(time), lagged, np.exp(-(time - time[0]) / tau)], axis=1)
    solution, *_ = np.linalg.lstsq(columns, temperature, rcond=None)
    fitted = columns @ solution
    residual = float(np.sqrt(np.mean((fitted - temperature) ** 2)))
    return (float(solution[0]), float(solution[1]), float(solution[2])), residual, fitted
