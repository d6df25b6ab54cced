"""Rate groups: methods that run every so many mission seconds, in step with their first start."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flight.declarations import RateGroup
from flight.meter import Meter
from skyrack.clock import Clock

OnOverrun = Callable[[str, int, float], None]
OnError = Callable[[str, Exception], None]


@dataclass(slots=True)
class RateStatistics:
    """What the rate groups of one service have seen; lag and cycles in host seconds."""

    overruns: int = 0
    errors: int = 0
    largest_lag_seconds: float = 0.0
    largest_cycle_seconds: float = 0.0

    def take_largest(self) -> tuple[float, float]:
        """Largest lag and cycle since the last call."""
        largest = self.largest_lag_seconds, self.largest_cycle_seconds
        self.largest_lag_seconds = self.largest_cycle_seconds = 0.0
        return largest


def next_start(first: float, period: float, count: int, now: float) -> tuple[int, int]:
    """Number of the start that follows ``count``, and how many starts that should have come before ``now`` it skips.

    Start ``n`` is due at ``first + n * period``: no error adds up, however long it runs.
    """
    following = count + 1
    if first + following * period >= now:
        return following, 0
    latest = int((now - first) // period)
    while first + latest * period < now:
        latest += 1
    return latest, latest - following


class RateRunner:
    """Runs one rate group until it is cancelled."""

    def __init__(
        self, group: RateGroup, method: Callable[[], Any], clock: Clock, meter: Meter, statistics: RateStatistics
    ) -> None:
        self._group = group
        self._method = method
        self._clock = clock
        self._meter = meter
        self._statistics = statistics

    async def run(self, on_overrun: OnOverrun, on_error: OnError) -> None:
        """Call the method at each start; ``on_overrun(method, starts missed, seconds late)`` hears of missed ones."""
        clock, meter, method, statistics = self._clock, self._meter, self._method, self._statistics
        period = self._group.seconds
        is_async = inspect.iscoroutinefunction(method)
        first = clock.now()
        count = 0
        while True:
            lag = (clock.now() - (first + count * period)) / clock.rate
            statistics.largest_lag_seconds = max(statistics.largest_lag_seconds, lag)
            begin = meter.seconds()
            try:
                if is_async:
                    await method()
                else:
                    method()
            except Exception as error:  # noqa: BLE001 - one bad cycle must not end the service
                statistics.errors += 1
                on_error(self._group.method, error)
            statistics.largest_cycle_seconds = max(statistics.largest_cycle_seconds, meter.seconds() - begin)
            now = clock.now()
            count, missed = next_start(first, period, count, now)
            if missed:
                statistics.overruns += missed
                on_overrun(self._group.method, missed, now - (first + (count - missed) * period))
            await clock.sleep_until(first + count * period)
