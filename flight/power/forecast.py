"""What the array will give and what everything but compute will take, phase by phase.

Light repeats with the orbit: eclipses that navigation foresaw are carried on, orbit by orbit, when its forecast has
ended or is old. Without any forecast the worst is assumed: the longest eclipse that a low orbit has begins now.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from flight.power.budget import Phase

SOLAR_CONSTANT_WATTS_PER_M2 = 1361.0
ASTRONOMICAL_UNIT_METERS = 149_597_870_700.0
# A cell in full Sun runs about 40 K over the temperature of its rating.
_CELL_HEATING_KELVIN = 40.0
# The longest eclipse of a low orbit is 37 % of 96 minutes.
_FALLBACK_PERIOD_SECONDS = 5760.0
_FALLBACK_ECLIPSE_SECONDS = 2200.0
# A forecast is carried on for this many periods: eclipse times then are wrong by about a minute.
_TRUSTED_PERIODS = 12.0
_ORBITS_PLANNED = 1.5
_SHORTEST_PHASE_SECONDS = 1.0
SHORTEST_ECLIPSE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ArrayDesign:
    """What the satellite file says about the array."""

    area_m2: float
    efficiency_ratio: float
    temperature_coefficient_per_kelvin: float
    ageing_ratio: float
    tracking: bool


@dataclass(frozen=True, slots=True)
class Light:
    """Eclipses (penumbra entry to penumbra exit, mission time) as foreseen at ``mission_time_seconds``."""

    mission_time_seconds: float
    horizon_seconds: float
    period_seconds: float
    eclipses: tuple[tuple[float, float], ...]


def array_watts(
    design: ArrayDesign, sunlit_ratio: float, sun_distance_meters: float, beta_angle_degrees: float
) -> float:
    """Power that the array can give. A fixed array looks along the orbit's normal, on its sunny side."""
    cosine = 1.0 if design.tracking else abs(math.sin(math.radians(beta_angle_degrees)))
    warm = 1.0 + design.temperature_coefficient_per_kelvin * _CELL_HEATING_KELVIN
    flux = SOLAR_CONSTANT_WATTS_PER_M2 * (ASTRONOMICAL_UNIT_METERS / sun_distance_meters) ** 2
    return flux * sunlit_ratio * cosine * warm * design.area_m2 * design.efficiency_ratio * design.ageing_ratio


def eclipses_ahead(light: Light | None, now: float, until: float) -> list[tuple[float, float]]:
    """Eclipses that end after ``now`` and begin before ``until``, in order."""
    if light is None or now > light.mission_time_seconds + _TRUSTED_PERIODS * light.period_seconds:
        return _worst_case(now, until)
    found = list(light.eclipses)
    if found:
        end = light.mission_time_seconds + light.horizon_seconds
        length = max((b - a for a, b in found if b < end), default=_FALLBACK_ECLIPSE_SECONDS)
        last, last_end = found[-1]
        found[-1] = (last, last_end if last_end < end else max(last_end, last + length))
        while last < until:
            last += light.period_seconds
            found.append((last, last + length))
    return [(a, b) for a, b in found if b > now and a < until]


def phases(
    eclipses: Sequence[tuple[float, float]],
    now: float,
    period_seconds: float,
    lit_watts: float,
    base_watts: float,
) -> list[Phase]:
    """Phases from now to the first eclipse that begins at least one and a half orbits ahead (or two orbits)."""
    end = now + 2.0 * period_seconds
    for start, _ in eclipses:
        if start >= now + _ORBITS_PLANNED * period_seconds:
            end = start
            break
    edges: list[tuple[float, float]] = []
    time = now
    for start, stop in eclipses:
        if start >= end:
            break
        if start > time:
            edges.append((time, lit_watts))
        edges.append((max(time, start), 0.0))
        # Spread over seconds, the last joules of an eclipse would be a flash of watts.
        time = max(stop, now + SHORTEST_ECLIPSE_SECONDS)
    if time < end:
        edges.append((time, lit_watts))
    ends = [*(start for start, _ in edges[1:]), max(end, time)]
    return [
        Phase(start, stop, watts, base_watts)
        for (start, watts), stop in zip(edges, ends, strict=True)
        if stop - start >= _SHORTEST_PHASE_SECONDS
    ]


def period_of(light: Light | None) -> float:
    """Orbital period, of a low orbit where nothing is known."""
    return light.period_seconds if light is not None else _FALLBACK_PERIOD_SECONDS


def _worst_case(now: float, until: float) -> list[tuple[float, float]]:
    found = []
    start = now
    while start < until:
        found.append((start, start + _FALLBACK_ECLIPSE_SECONDS))
        start += _FALLBACK_PERIOD_SECONDS
    return found


class BaseLoad:
    """Load other than compute: what is rated to be on, or what is measured where that is more.

    Rises quickly with what is measured and falls slowly, so that a heater that cycles is budgeted as if it stayed on.
    """

    __slots__ = ("_measured",)

    _RISE = 0.2
    _FALL = 0.002

    def __init__(self) -> None:
        self._measured = 0.0

    def update(self, measured_watts: float) -> None:
        """Take one measurement a second."""
        share = self._RISE if measured_watts > self._measured else self._FALL
        self._measured += share * (measured_watts - self._measured)

    def watts(self, rated_watts: float) -> float:
        """Load to plan with, given the rated draw of what is switched on."""
        return max(rated_watts, self._measured)


class ArrayHealth:
    """Ratio of delivered to modelled array power, learnt where the array is the limit.

    An array delivers less than it could when load and battery want no more. It is the limit when the battery gives
    power in full light, or takes less than it would; only then does a low reading say something. A reading above
    the model always does.
    """

    __slots__ = ("ratio",)

    _GAIN = 0.02

    def __init__(self) -> None:
        self.ratio = 1.0

    def update(self, measured_watts: float, modelled_watts: float, *, is_the_limit: bool) -> None:
        """Take a measurement in full light (W)."""
        if modelled_watts <= 0.0:
            return
        ratio = min(1.2, max(0.0, measured_watts / modelled_watts))
        if is_the_limit or ratio > self.ratio:
            self.ratio += self._GAIN * (ratio - self.ratio)
