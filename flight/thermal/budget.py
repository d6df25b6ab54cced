"""How much heat compute may give off, in light and in darkness, such that no chip passes its limit.

The level is the heat at which the hottest chip settles a little under the limit with the pump at what it can do. The
network is monotone (more heat is nowhere colder), so heat that is safe when held for ever is safe for any shorter
time, whatever the state below it. Heat that the masses could swallow for minutes is left unused. When a chip is close
to its limit nevertheless, the level in force falls in proportion, down to nothing at the limit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from flight.thermal.network import STEFAN_BOLTZMANN, ZERO_CELSIUS_KELVIN, flow_ratio
from skyrack.satellite import Thermal

SOLAR_CONSTANT_WATTS_PER_M2 = 1361.0
EARTH_INFRARED_WATTS_PER_M2 = 237.0
EARTH_ALBEDO_RATIO = 0.3
_MARGIN_KELVIN = 5.0
_DERATING_KELVIN = 3.0
_RESOLUTION_WATTS = 0.5
_DERATED_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Rack:
    """What the rack gives off: all nodes' peak together, and the greatest of one node; and other heat, W."""

    peak_watts: float
    node_peak_watts: float
    panel_watts: float
    loop_watts: float


@dataclass(frozen=True, slots=True)
class Slice:
    """Watts of heat that compute may give off from ``start_seconds`` until the next slice."""

    start_seconds: float
    watts: float


def environment_watts(thermal: Thermal, *, lit: bool) -> float:
    """Heat that the radiator takes in from the Earth and the Sun; albedo as over the subsolar point."""
    area = thermal.radiator_area_m2 * thermal.radiator_faces
    seen = area * thermal.radiator_earth_view_ratio
    watts = seen * thermal.radiator_emissivity_ratio * EARTH_INFRARED_WATTS_PER_M2
    if lit:
        absorbing = area * thermal.radiator_sun_view_ratio + seen * EARTH_ALBEDO_RATIO
        watts += absorbing * thermal.radiator_absorptivity_ratio * SOLAR_CONSTANT_WATTS_PER_M2
    return watts


def settled_chip_celsius(
    thermal: Thermal, rack: Rack, compute_watts: float, duty_ratio: float, absorbed_watts: float
) -> float:
    """Temperature at which the hottest chip settles, were the heat held for ever and as uneven as it can be."""
    flow = flow_ratio(duty_ratio)
    area = thermal.radiator_area_m2 * thermal.radiator_faces
    through_loop = compute_watts + rack.loop_watts
    rejected = through_loop + rack.panel_watts + absorbed_watts
    kelvin = math.sqrt(math.sqrt(rejected / (thermal.radiator_emissivity_ratio * STEFAN_BOLTZMANN * area)))
    radiator = kelvin - ZERO_CELSIUS_KELVIN
    loop = radiator + through_loop / (thermal.loop_to_radiator_watts_per_kelvin * flow)
    plate = loop + compute_watts / (thermal.plate_to_loop_watts_per_kelvin * flow)
    return plate + min(compute_watts, rack.node_peak_watts) / thermal.chip_to_plate_watts_per_kelvin


def capacity_watts(thermal: Thermal, rack: Rack, limit_celsius: float, duty_ratio: float, *, lit: bool) -> float:
    """Greatest compute heat that keeps every chip a margin under the limit, at most what the rack can give off."""
    absorbed = environment_watts(thermal, lit=lit)
    low, high = 0.0, rack.peak_watts
    target = limit_celsius - _MARGIN_KELVIN
    if settled_chip_celsius(thermal, rack, high, duty_ratio, absorbed) <= target:
        return high
    while high - low > _RESOLUTION_WATTS:
        middle = 0.5 * (low + high)
        if settled_chip_celsius(thermal, rack, middle, duty_ratio, absorbed) <= target:
            low = middle
        else:
            high = middle
    return low


def derating(hottest_celsius: float, limit_celsius: float) -> float:
    """Share of the level that may be used now: 1 well under the limit, 0 from the limit on."""
    return min(1.0, max(0.0, (limit_celsius - hottest_celsius) / _DERATING_KELVIN))


def plan(
    now: float,
    eclipses: Sequence[tuple[float, float]],
    lit_watts: float,
    dark_watts: float,
    share_now: float,
) -> list[Slice]:
    """Levels from now on: ``dark_watts`` in eclipses, else ``lit_watts``; the first two minutes times ``share_now``."""
    edges = [(now, lit_watts)]
    for start, end in eclipses:
        if end > now:
            if start <= now:
                edges.pop()
            edges += [(max(start, now), dark_watts), (end, lit_watts)]
    if share_now >= 1.0:
        return [Slice(start, watts) for start, watts in edges]
    recovered = now + _DERATED_SECONDS
    after = [watts for start, watts in edges if start <= recovered][-1]
    first = [Slice(start, watts * share_now) for start, watts in edges if start < recovered]
    return [*first, Slice(recovered, after), *(Slice(start, watts) for start, watts in edges if start > recovered)]
