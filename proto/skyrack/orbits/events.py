"""When something begins and ends: the intervals in which a function of time is positive.

Coarse steps find them, bisection sharpens the edges. A grazing interval shorter than a step is found too, by looking
for the top between two steps where the samples on both sides are lower.
"""

from __future__ import annotations

from collections.abc import Callable

Margin = Callable[[float], float]

_TOLERANCE_SECONDS = 0.01
_GOLDEN = 0.6180339887498949


class IntervalFinder:
    """Intervals of one margin function, extended as time goes on: every moment is searched once.

    A margin is searched from where the last :meth:`extend` ended; intervals that ended before the time given to
    :meth:`current` are forgotten. An interval that is open at the searched end is reported up to that end.
    """

    __slots__ = ("_intervals", "_margin", "_open_since", "_samples", "_step", "searched_until")

    def __init__(self, margin: Margin, start_seconds: float, step_seconds: float) -> None:
        self._margin = margin
        self._step = step_seconds
        value = margin(start_seconds)
        self._samples: list[tuple[float, float]] = [(start_seconds, value)]
        self._open_since: float | None = start_seconds if value > 0.0 else None
        self._intervals: list[tuple[float, float]] = []
        self.searched_until = start_seconds

    def extend(self, until_seconds: float) -> None:
        """Search on to ``until_seconds`` or up to one step further; earlier times change nothing."""
        while self.searched_until < until_seconds:
            time = self.searched_until + self._step
            self._take(time, self._margin(time))
            self.searched_until = time

    def current(self, now_seconds: float) -> list[tuple[float, float]]:
        """Known intervals that end after ``now_seconds``, oldest first."""
        self._intervals = [interval for interval in self._intervals if interval[1] > now_seconds]
        if self._open_since is None:
            return list(self._intervals)
        return [*self._intervals, (self._open_since, self.searched_until)]

    def _take(self, time: float, value: float) -> None:
        before, previous = self._samples[-1]
        if previous <= 0.0 < value:
            self._open_since = _crossing(self._margin, before, time)
        elif value <= 0.0 < previous:
            self._close(_crossing(self._margin, time, before))
        elif value <= 0.0 and len(self._samples) > 1:
            first, rising = self._samples[0]
            if rising <= 0.0 and previous >= max(rising, value):
                self._look_for_graze(first, time)
        self._samples = [(before, previous), (time, value)]

    def _look_for_graze(self, first: float, last: float) -> None:
        top = _top(self._margin, first, last)
        if self._margin(top) > 0.0:
            self._open_since = _crossing(self._margin, first, top)
            self._close(_crossing(self._margin, last, top))

    def _close(self, end: float) -> None:
        if self._open_since is not None:
            self._intervals.append((self._open_since, end))
        self._open_since = None


def intervals(
    margin: Margin, start_seconds: float, end_seconds: float, step_seconds: float
) -> list[tuple[float, float]]:
    """Intervals between two times in which ``margin`` is positive, cut at the ends."""
    finder = IntervalFinder(margin, start_seconds, step_seconds)
    finder.extend(end_seconds)
    return [(a, min(b, end_seconds)) for a, b in finder.current(start_seconds) if a < end_seconds]


def _crossing(margin: Margin, below: float, above: float) -> float:
    """Where the margin changes sign between a time with margin <= 0 and one with margin > 0 (in any order)."""
    while abs(above - below) > _TOLERANCE_SECONDS:
        middle = 0.5 * (below + above)
        if margin(middle) > 0.0:
            above = middle
        else:
            below = middle
    return 0.5 * (below + above)


def _top(margin: Margin, low: float, high: float) -> float:
    """Where the margin is greatest, by golden sections: it has one top between the two times."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = margin(left), margin(right)
    while high - low > _TOLERANCE_SECONDS:
        if at_left > at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = margin(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = margin(right)
    return 0.5 * (low + high)
