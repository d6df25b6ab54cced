"""How many watts compute may draw, phase by phase, over the next orbits.

A phase is a stretch of light or of darkness in which array power and base load are taken as constant. The battery's
energy then rises or falls through a whole phase, so it is enough to look at phase ends, and each phase is solved in
closed form, with losses each way, rate limits and the taper of charging near full. Because the losses are convex,
a steady draw through a phase beats any other of the same energy.

Levels come from progressive filling (max-min fairness, Bertsekas and Gallager, Data Networks, section 6.5.2): all
phases rise together until one cannot rise without breaking a limit; it stays there and the others go on. What results
is feasible, and no phase's level can be raised alone. It keeps draw as even as the battery allows, because a job
that need not stop is worth more than a job that runs faster for half an orbit.

The limits: stored energy at the end of every phase stays over the floor; at the end of the horizon the battery has
recharged; discharge stays under the battery's rating. Where a limit is broken by the base load alone, compute gets
what does not make it worse, which is nothing.

The budget covers everything that the rack's nodes draw, their idle draw included. A budget under the idle draw means
that nodes must be switched off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from flight.power.battery import BatteryDesign

# Charging power falls from its maximum at 90 % to nothing at full.
_TAPER_RATIO = 0.1
# At the end of the horizon: full to this ratio, or this share of what could be recharged without compute.
_RECHARGED_RATIO = 0.98
_RECHARGED_SHARE = 0.8
_RESOLUTION_WATTS = 0.25
_TOLERANCE_JOULES = 1e-6


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of constant light: array power and load other than compute, W; mission time."""

    start_seconds: float
    end_seconds: float
    array_watts: float
    base_watts: float

    @property
    def duration_seconds(self) -> float:
        """Length of the phase."""
        return self.end_seconds - self.start_seconds


@dataclass(frozen=True, slots=True)
class Slice:
    """Watts that compute may draw from ``start_seconds`` until the next slice."""

    start_seconds: float
    watts: float


@dataclass(frozen=True, slots=True)
class Budget:
    """Levels over time; ``lowest_joules`` is the least stored energy that the plan foresees."""

    slices: tuple[Slice, ...]
    end_seconds: float
    lowest_joules: float

    def watts_at(self, now: float) -> float:
        """Level in force; 0 beyond the plan's ends."""
        level = 0.0
        for piece in self.slices:
            if piece.start_seconds > now:
                break
            level = piece.watts
        return level if now < self.end_seconds else 0.0

    def mean_watts(self) -> float:
        """Mean level over the plan."""
        if not self.slices or self.end_seconds <= self.slices[0].start_seconds:
            return 0.0
        ends = [*(piece.start_seconds for piece in self.slices[1:]), self.end_seconds]
        energy = sum(piece.watts * (end - piece.start_seconds) for piece, end in zip(self.slices, ends, strict=True))
        return energy / (self.end_seconds - self.slices[0].start_seconds)


def advance(design: BatteryDesign, energy_joules: float, net_watts: float, seconds: float) -> float:
    """Stored energy after a time of constant net power (array less load; J, W), by the forecast's battery model."""
    if net_watts <= 0.0:
        return energy_joules + net_watts / design.discharge_efficiency_ratio * seconds
    capacity, efficiency = design.capacity_joules, design.charge_efficiency_ratio
    rate = min(net_watts, design.maximum_charge_watts)
    taper = design.maximum_charge_watts / (_TAPER_RATIO * capacity)
    # Constant power until the taper allows no more of it, then an exponential approach to full.
    knee = capacity - rate / taper
    if energy_joules < knee:
        until_knee = (knee - energy_joules) / (efficiency * rate)
        if until_knee >= seconds:
            return energy_joules + efficiency * rate * seconds
        energy_joules, seconds = knee, seconds - until_knee
    return capacity - (capacity - energy_joules) * math.exp(-efficiency * taper * seconds)


def plan(
    phases: Sequence[Phase],
    energy_joules: float,
    design: BatteryDesign,
    floor_joules: float,
    maximum_watts: float,
) -> Budget:
    """Fill the phases as the module's head says.

    Args:
        phases: contiguous, first one begins now.
        energy_joules: stored energy now.
        design: the battery.
        floor_joules: stored energy that must remain.
        maximum_watts: what compute can draw at most.

    Returns:
        One slice per phase.
    """
    if not phases:
        return Budget((), 0.0, energy_joules)
    limits = _Limits(phases, energy_joules, design, floor_joules)
    caps = [
        max(0.0, min(maximum_watts, design.maximum_discharge_watts + phase.array_watts - phase.base_watts))
        for phase in phases
    ]
    levels = _fill(limits, caps)
    slices = tuple(Slice(phase.start_seconds, watts) for phase, watts in zip(phases, levels, strict=True))
    return Budget(slices, phases[-1].end_seconds, min([energy_joules, *limits.energies(levels)]))


class _Limits:
    """Least energy at each phase's end, and whether levels keep it."""

    def __init__(
        self, phases: Sequence[Phase], energy_joules: float, design: BatteryDesign, floor_joules: float
    ) -> None:
        self._phases = phases
        self._energy_joules = energy_joules
        self._design = design
        without = self.energies([0.0] * len(phases))
        recharged = min(
            _RECHARGED_RATIO * design.capacity_joules,
            energy_joules + _RECHARGED_SHARE * max(0.0, without[-1] - energy_joules),
        )
        least = [floor_joules] * len(phases)
        least[-1] = max(floor_joules, recharged)
        self._least = [min(a, b) - _TOLERANCE_JOULES for a, b in zip(least, without, strict=True)]

    def energies(self, levels: Sequence[float]) -> list[float]:
        energy = self._energy_joules
        found = []
        for phase, watts in zip(self._phases, levels, strict=True):
            energy = advance(self._design, energy, phase.array_watts - phase.base_watts - watts, phase.duration_seconds)
            found.append(energy)
        return found

    def kept(self, levels: Sequence[float]) -> bool:
        return all(a >= b for a, b in zip(self.energies(levels), self._least, strict=True))


def _fill(limits: _Limits, caps: Sequence[float]) -> list[float]:
    levels = [0.0] * len(caps)
    rising = set(range(len(caps)))
    water = 0.0
    while rising:
        low, high = water, max(caps[k] for k in rising)
        if limits.kept(_raised(levels, rising, caps, high)):
            return _raised(levels, rising, caps, high)
        while high - low > _RESOLUTION_WATTS:
            middle = 0.5 * (low + high)
            if limits.kept(_raised(levels, rising, caps, middle)):
                low = middle
            else:
                high = middle
        water = low
        levels = _raised(levels, rising, caps, water)
        # Together they cannot rise by the resolution; alone, the longest of them cannot rise by this many times it.
        probe = water + _RESOLUTION_WATTS * 1.25 * len(rising)
        stuck = {k for k in rising if caps[k] <= water or not limits.kept(_with(levels, k, probe))}
        if not stuck:
            return levels
        rising -= stuck
    return levels


def _raised(levels: Sequence[float], rising: set[int], caps: Sequence[float], water: float) -> list[float]:
    return [min(water, caps[k]) if k in rising else level for k, level in enumerate(levels)]


def _with(levels: Sequence[float], k: int, watts: float) -> list[float]:
    return [watts if i == k else level for i, level in enumerate(levels)]
