"""Holds a computer's measured draw under a cap, with a throttle and with pauses of the work. Pure: no clock, no meter.

Pauses are the fine knob: draw above idle is in proportion to the part of the time that work runs, whatever the work. So
one look at the meter says which part fits, and a cap that was lowered holds after one step of it. The throttle
(frequency, power mode) is the coarse knob, in steps whose draw nobody knows beforehand: it goes down when work is
paused for half of the time, since slower clocks do more for a joule than pauses, and up when work is not paused and
there is still something to gain, and then the work is first paused by as much as the step may cost. Between the two
there is room, so that nothing swings; and small differences are let be. After each change the law waits until the
meter has seen it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

PAUSE_SECONDS = 0.2
"""Work that is paused runs for a part of each such time: less than one of them says nothing of the mean."""
LEAST_DUTY_RATIO = 0.05
"""Work is never stopped altogether by a cap: what the board draws at this is what it draws."""


@dataclass(frozen=True, slots=True)
class CapSettings:
    """How the cap is held; ``over``, ``aim`` and ``under`` are ratios of the span from idle to peak.

    Attributes:
        over_ratio: draw over the cap that is let be: noise of the meter.
        aim_ratio: how far under the cap a correction aims.
        under_ratio: draw under the cap that is not worth another step.
        meter_seconds: how long a change takes to show on the meter.
        rise_ratio: the most that the duty grows by in one step, of itself.
        gear_ratio: a step of the throttle.
        gear_costs: part of the duty that is left when the throttle goes up a step.
        low_duty_ratio: below this the throttle goes down.
    """

    over_ratio: float = 0.01
    aim_ratio: float = 0.015
    under_ratio: float = 0.05
    meter_seconds: float = 0.65
    rise_ratio: float = 0.5
    gear_ratio: float = 0.2
    gear_costs: float = 0.5
    low_duty_ratio: float = 0.45


@dataclass(frozen=True, slots=True)
class Knobs:
    """What is set: the throttle's ratio, and the part of the time that work runs."""

    throttle_ratio: float = 1.0
    duty_ratio: float = 1.0


class PowerCap:
    """The controller of one board. Watts are of one scale throughout, whichever; times of any clock that only grows."""

    def __init__(
        self, idle_watts: float, peak_watts: float, settings: CapSettings | None = None, *, throttled: bool = True
    ) -> None:
        self._settings = settings or CapSettings()
        self._span = peak_watts - idle_watts
        self._idle = idle_watts
        self._cap = peak_watts
        self._throttled = throttled
        self._changed_at = float("-inf")
        self.knobs = Knobs()

    @property
    def idle_watts(self) -> float:
        """What the board is taken to draw with nothing to do."""
        return self._idle

    def without_throttle(self) -> None:
        """There is none, or it may not be set: pauses do it all."""
        self._throttled = False
        self.knobs = Knobs(1.0, self.knobs.duty_ratio)

    def set_cap(self, cap_watts: float, measured_watts: float, now: float) -> None:
        """Take another cap, and act at once by what the board draws."""
        if cap_watts != self._cap:
            self._cap = cap_watts
            self._fit(measured_watts, now)

    def idle(self, measured_watts: float) -> None:
        """Nothing runs: what the board draws now is its idle draw, whatever its rating says."""
        self._idle += 0.2 * (measured_watts - self._idle)

    def begin(self, share: float, now: float) -> None:
        """Work begins that would draw ``share`` of the span when it runs freely: start from what should fit."""
        fits = max(0.0, self._cap - self._idle) / max(1e-9, self._span * share)
        self._set(self.knobs.throttle_ratio, min(1.0, fits), now)

    def step(self, measured_watts: float, now: float) -> Knobs:
        """Look at the meter; the knobs from now on. To be called some times a second."""
        settings, knobs = self._settings, self.knobs
        if now - self._changed_at >= settings.meter_seconds:
            over = measured_watts - self._cap
            if over > settings.over_ratio * self._span:
                self._fit(measured_watts, now)
            elif over < -settings.under_ratio * self._span and knobs.duty_ratio < 1.0:
                self._rise(measured_watts, now)
            elif over < -settings.under_ratio * self._span and knobs.throttle_ratio < 1.0:
                throttle = min(1.0, knobs.throttle_ratio + settings.gear_ratio)
                self._set(throttle, knobs.duty_ratio * settings.gear_costs, now)
            elif knobs.duty_ratio < settings.low_duty_ratio and knobs.throttle_ratio > 0.0 and self._throttled:
                self._set(max(0.0, knobs.throttle_ratio - settings.gear_ratio), knobs.duty_ratio, now)
        return self.knobs

    def _fit(self, measured: float, now: float) -> None:
        """Go down to the duty at which the draw above idle is what the cap leaves."""
        above = measured - self._idle
        allowed = self._cap - self._settings.aim_ratio * self._span - self._idle
        if above > max(0.0, allowed):
            self._set(self.knobs.throttle_ratio, self.knobs.duty_ratio * max(0.0, allowed) / above, now)

    def _rise(self, measured: float, now: float) -> None:
        above = max(1e-9, measured - self._idle)
        allowed = max(0.0, self._cap - self._settings.aim_ratio * self._span - self._idle)
        # Draw that has nothing to do with the duty (work that waits) shows as a ratio without end.
        ratio = min(1.0 + self._settings.rise_ratio, allowed / above)
        if ratio > 1.0:
            self._set(self.knobs.throttle_ratio, self.knobs.duty_ratio * ratio, now)

    def _set(self, throttle: float, duty: float, now: float) -> None:
        knobs = Knobs(round(throttle, 3), round(min(1.0, max(LEAST_DUTY_RATIO, duty)), 3))
        if knobs != self.knobs:
            self.knobs = knobs
            self._changed_at = now


class Draw:
    """The mean of a meter over some whole periods of pausing, each sample weighed by the time until the next."""

    def __init__(self, window_seconds: float = 3.0 * PAUSE_SECONDS) -> None:
        self.window_seconds = window_seconds
        self.watts = 0.0
        self._samples: deque[tuple[float, float]] = deque()

    @property
    def settled(self) -> bool:
        """Whether the mean is of what was measured since a knob was turned."""
        return self._span() >= PAUSE_SECONDS

    def add(self, watts: float, now: float) -> None:
        """Take a sample in; ``now`` in host seconds."""
        samples = self._samples
        samples.append((now, watts))
        while len(samples) > 2 and samples[1][0] <= now - self.window_seconds:
            samples.popleft()
        if self._span() >= PAUSE_SECONDS:
            joules, before = 0.0, samples[0]
            for sample in samples:
                joules += (sample[0] - before[0]) * before[1]
                before = sample
            self.watts = joules / self._span()
        elif self.watts == 0.0:
            self.watts = watts

    def forget(self) -> None:
        """What was measured before a knob was turned says nothing of what follows; the mean stands until then."""
        self._samples.clear()

    def _span(self) -> float:
        return self._samples[-1][0] - self._samples[0][0] if self._samples else 0.0


@dataclass(slots=True)
class Settling:
    """Measures how long the draw takes to come under a cap that was lowered.

    ``settled`` holds the times, seconds, newest last; ``pending_since`` is when a cap was lowered that the draw is
    still over.
    """

    tolerance_watts: float
    settled: list[float]
    pending_since: float | None = None
    most: int = 200

    def cap_changed(self, cap_watts: float, measured_watts: float, now: float) -> None:
        """A cap came."""
        if measured_watts <= cap_watts + self.tolerance_watts:
            self.pending_since = None
        elif self.pending_since is None:
            self.pending_since = now

    def pending_seconds(self, now: float) -> float:
        """For how long the draw has been over a cap that was lowered."""
        return 0.0 if self.pending_since is None else now - self.pending_since

    def look(self, cap_watts: float, measured_watts: float, now: float) -> None:
        """The meter was read."""
        if self.pending_since is not None and measured_watts <= cap_watts + self.tolerance_watts:
            self.settled.append(round(now - self.pending_since, 3))
            del self.settled[: -self.most]
            self.pending_since = None
