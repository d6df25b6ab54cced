"""Watts over time, as steps: what power and thermal offer, and the least of both."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """Steps of a budget: ``watts[i]`` holds from ``starts[i]`` until the next start, the last one for ever.

    Before the first start, the first step holds: a budget that comes a moment early is meant for now.
    """

    starts: tuple[float, ...]
    watts: tuple[float, ...]
    end: float = math.inf

    @classmethod
    def constant(cls, watts: float) -> Profile:
        """The same watts for ever."""
        return cls((-math.inf,), (watts,))

    @classmethod
    def of(cls, steps: Iterable[tuple[float, float]], end: float) -> Profile:
        """From (start, watts) pairs in any order; none of them means no watts."""
        ordered = sorted(steps)
        if not ordered:
            return cls((-math.inf,), (0.0,), end)
        return cls(tuple(start for start, _ in ordered), tuple(max(0.0, watts) for _, watts in ordered), end)

    def _index(self, time: float) -> int:
        return max(0, bisect_right(self.starts, time) - 1)

    def at(self, time: float) -> float:
        """Watts at a time."""
        return self.watts[self._index(time)]

    def lowest(self, begin: float, end: float) -> float:
        """Least watts from ``begin`` to ``end``, both included."""
        first = self._index(begin)
        last = self._index(end)
        return self.watts[first] if first == last else min(self.watts[first : last + 1])

    def highest(self, begin: float) -> float:
        """Most watts from ``begin`` on."""
        return max(self.watts[self._index(begin) :])


def least(profiles: Sequence[Profile]) -> Profile:
    """At each time the least of all profiles.

    Raises:
        ValueError: there are none.
    """
    if len(profiles) == 1:
        return profiles[0]
    starts = sorted({start for profile in profiles for start in profile.starts})
    steps = tuple(min(profile.at(start) for profile in profiles) for start in starts)
    return Profile(tuple(starts), steps, min(profile.end for profile in profiles))
