"""What lies ahead: eclipses, sunlight and contacts, kept up to date at the cost of the new minutes only."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sgp4.api import Satrec

from skyrack.orbits import (
    IntervalFinder,
    StationView,
    Vector,
    eclipse_margin_radians,
    orbital_period_seconds,
    propagate,
    sidereal_angle_radians,
    sun_position,
    sunlit_ratio,
    teme_to_itrf,
)
from skyrack.satellite import GroundStation

STEP_SECONDS = 30.0
ORBITS_AHEAD = 2.0


@dataclass(frozen=True, slots=True)
class StationContact:
    """A pass over a ground station, mission time."""

    station: str
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """What lies ahead of ``mission_time_seconds``.

    Eclipses reach from penumbra entry to penumbra exit. ``sunlit_ratio`` holds the visible part of the Sun every
    ``step_seconds`` from ``mission_time_seconds`` on. Intervals that are open at the horizon end there.
    """

    mission_time_seconds: float
    horizon_seconds: float
    period_seconds: float
    step_seconds: float
    eclipses: tuple[tuple[float, float], ...]
    contacts: tuple[StationContact, ...]
    sunlit_ratio: tuple[float, ...]

    def next_eclipse_seconds(self, now: float) -> float:
        """Time until the next eclipse, 0 inside one; the horizon's end where there is none."""
        for start, end in self.eclipses:
            if end > now:
                return max(0.0, start - now)
        return max(0.0, self.mission_time_seconds + self.horizon_seconds - now)


class Forecaster:
    """Looks two orbits ahead; times are taken from a grid that begins at ``start_seconds``."""

    def __init__(self, satrec: Satrec, stations: Sequence[GroundStation], start_seconds: float) -> None:
        self._satrec = satrec
        self.period_seconds = orbital_period_seconds(satrec)
        self._steps = round(ORBITS_AHEAD * self.period_seconds / STEP_SECONDS)
        self._eclipses = IntervalFinder(self._eclipse_margin, start_seconds, STEP_SECONDS)
        self._contacts = [
            (view.name, IntervalFinder(self._contact_margin(view), start_seconds, STEP_SECONDS))
            for view in map(StationView, stations)
        ]
        self._first_seconds = start_seconds
        self._sunlit: deque[float] = deque()

    def forecast(self, now: float) -> Forecast:
        """Look ahead from the last grid time at or before ``now``, which must not run backwards."""
        while self._first_seconds + STEP_SECONDS <= now:
            self._first_seconds += STEP_SECONDS
            if self._sunlit:
                self._sunlit.popleft()
        start = self._first_seconds
        while len(self._sunlit) < self._steps:
            self._sunlit.append(self._sunlit_at(start + STEP_SECONDS * len(self._sunlit)))
        end = start + STEP_SECONDS * self._steps
        contacts = [
            StationContact(name, *interval) for name, finder in self._contacts for interval in _ahead(finder, now, end)
        ]
        return Forecast(
            mission_time_seconds=start,
            horizon_seconds=end - start,
            period_seconds=self.period_seconds,
            step_seconds=STEP_SECONDS,
            eclipses=tuple(_ahead(self._eclipses, now, end)),
            contacts=tuple(sorted(contacts, key=lambda contact: (contact.start_seconds, contact.station))),
            sunlit_ratio=tuple(self._sunlit),
        )

    def _sunlit_at(self, time: float) -> float:
        return sunlit_ratio(propagate(self._satrec, time).position_meters, sun_position(time))

    def _eclipse_margin(self, time: float) -> float:
        return eclipse_margin_radians(propagate(self._satrec, time).position_meters, sun_position(time))

    def _contact_margin(self, view: StationView) -> Callable[[float], float]:
        def margin(time: float) -> float:
            position: Vector = propagate(self._satrec, time).position_meters
            return view.margin_radians(teme_to_itrf(position, sidereal_angle_radians(time)))

        return margin


def _ahead(finder: IntervalFinder, now: float, end: float) -> list[tuple[float, float]]:
    finder.extend(end)
    return finder.current(now)
