"""Which relay to talk to: one that stays in sight for long, and of those the nearest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sgp4.api import Satrec

from flight.laser.link_budget import rate_bits_per_second, received_power_watts
from skyrack.orbits import OrbitError, OrbitPosition, distance, dot, line_of_sight, propagate, subtract, unit
from skyrack.satellite import Laser

HORIZON_SECONDS: Final = 1800.0
"""Contacts are compared up to here: what lasts longer counts as long."""

_STEP_SECONDS: Final = 30.0
_RANGE_MARGIN: Final = 0.97
_LEAST_RATE_RATIO: Final = 5e-3
_STEEPEST_SINE: Final = 0.98
_FASTEST_RADIANS_PER_SECOND: Final = 0.012


@dataclass(frozen=True, slots=True)
class Target:
    """A relay, and how long it can be held."""

    name: str
    satrec: Satrec
    range_meters: float
    end_seconds: float
    """Mission time at which the contact ends, or the horizon of the search."""


def reachable(laser: Laser, own: OrbitPosition, partner: OrbitPosition) -> bool:
    """Whether light gets there, with a margin."""
    away = distance(own.position_meters, partner.position_meters)
    if away > _RANGE_MARGIN * laser.maximum_range_meters:
        return False
    power = received_power_watts(laser, away)
    if rate_bits_per_second(laser, power) < _LEAST_RATE_RATIO * laser.maximum_rate_bits_per_second:
        return False
    return _steerable(own, partner, away) and line_of_sight(own.position_meters, partner.position_meters)


def _steerable(own: OrbitPosition, partner: OrbitPosition, away: float) -> bool:
    """Whether the gimbal follows: not past its zenith, and not as fast as a relay that flies by close."""
    towards = unit(subtract(partner.position_meters, own.position_meters))
    if abs(dot(towards, unit(own.position_meters))) > _STEEPEST_SINE:
        return False
    relative = subtract(partner.velocity_meters_per_second, own.velocity_meters_per_second)
    outward = dot(relative, towards)
    across = math.sqrt(max(0.0, dot(relative, relative) - outward * outward))
    return across < _FASTEST_RADIANS_PER_SECOND * away


def choose(
    laser: Laser, own: Satrec, relays: Sequence[tuple[str, Satrec]], now: float, avoid: str = ""
) -> Target | None:
    """The relay with the longest remaining contact, the nearest of equals; ``avoid`` only if there is no other."""
    here = propagate(own, now)
    visible: list[tuple[float, str, Satrec]] = []
    for name, satrec in relays:
        try:
            there = propagate(satrec, now)
        except OrbitError:
            continue
        if reachable(laser, here, there):
            visible.append((distance(here.position_meters, there.position_meters), name, satrec))
    path: list[OrbitPosition] = []
    best: tuple[tuple[bool, float, float], Target] | None = None
    for away, name, satrec in visible:
        end = _end(laser, own, satrec, now, path)
        rank = (name == avoid, -(end - now), away)
        if best is None or rank < best[0]:
            best = (rank, Target(name, satrec, away, end))
    return best[1] if best else None


def _end(laser: Laser, own: Satrec, relay: Satrec, now: float, path: list[OrbitPosition]) -> float:
    """When the relay goes out of reach; ``path`` keeps the satellite's own positions for the next relay."""
    for number in range(int(HORIZON_SECONDS / _STEP_SECONDS)):
        time = now + (number + 1) * _STEP_SECONDS
        if len(path) <= number:
            path.append(propagate(own, time))
        try:
            there = propagate(relay, time)
        except OrbitError:
            return time - _STEP_SECONDS
        if not reachable(laser, path[number], there):
            return time - _STEP_SECONDS
    return now + HORIZON_SECONDS
