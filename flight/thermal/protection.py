"""Over-temperature trips: a chip that is too hot, or will be within seconds, loses its power.

A trip is repeated every cycle until the switch is seen open, because a message may be lost and its receiver may be
restarting. It ends when the switch is open and the chip has cooled.
"""

from __future__ import annotations

from dataclasses import dataclass

_PERSISTENCE_SECONDS = 2.0
_LOOK_AHEAD_SECONDS = 8.0
_RATE_GAIN = 0.3
_BLIND_MARGIN_KELVIN = 5.0
_COOLED_KELVIN = 15.0


@dataclass(frozen=True, slots=True)
class TripLimits:
    """Chip temperature that trips, and the one over which a fast rise trips early, degrees Celsius."""

    trip_celsius: float
    limit_celsius: float


class TripDetector:
    """Watches one chip."""

    __slots__ = ("_before", "_over_since", "_rate", "tripped")

    def __init__(self) -> None:
        self.tripped = False
        self._before: tuple[float, float] | None = None
        self._rate = 0.0
        self._over_since: float | None = None

    def step(self, now: float, celsius: float, limits: TripLimits, *, valid: bool, switch_open: bool) -> bool:
        """Take the estimate of ``now``; returns whether the trip must be called out in this cycle.

        Where the sensor is not valid the model's estimate trips a few kelvin earlier.
        """
        self._follow(now, celsius)
        trip = limits.trip_celsius - (0.0 if valid else _BLIND_MARGIN_KELVIN)
        rising = celsius > limits.limit_celsius and celsius + self._rate * _LOOK_AHEAD_SECONDS >= trip
        if celsius >= trip or rising:
            if self._over_since is None:
                self._over_since = now
            if now - self._over_since >= _PERSISTENCE_SECONDS:
                self.tripped = True
        else:
            self._over_since = None
            if self.tripped and switch_open and celsius < limits.trip_celsius - _COOLED_KELVIN:
                self.tripped = False
        return self.tripped and not switch_open

    def _follow(self, now: float, celsius: float) -> None:
        if self._before is not None and now > self._before[0]:
            rate = (celsius - self._before[1]) / (now - self._before[0])
            self._rate += _RATE_GAIN * (rate - self._rate)
        self._before = (now, celsius)
