"""Pointing, acquisition and tracking of one terminal, as a state machine without I/O.

    idle -> slew -> scan -> coarse -> fine -> communicate
                      ^       |fade     |fade      |fade
                      +----- reacquire <-----------+

Offsets are angles in the sky from where the partner is predicted, (azimuth * cos(elevation), elevation) in radians:
what the terminal was built askew by. The offset that was learned on one partner is where the search for the next one
begins.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from flight.laser.scan import spot, spots_in

Offset = tuple[float, float]

_COARSE_LIMIT_RATIO: Final = 0.35
_FINE_LIMIT_RATIO: Final = 0.12
"""Tracking errors over the field's half angle at which coarse hands over to fine, and fine to communication."""

_STEADY_MEASUREMENTS: Final = 2
_TRACKING_GAIN: Final = 0.5
_WIDER: Final = 1.6
_WIDEST_RADIANS: Final = 0.02


class State(Enum):
    """What the terminal is doing."""

    IDLE = "idle"
    SLEW = "slew"
    SCAN = "scan"
    COARSE = "coarse"
    FINE = "fine"
    COMMUNICATE = "communicate"
    REACQUIRE = "reacquire"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a terminal and its parameters give."""

    half_field_radians: float
    scan_half_angle_radians: float
    dwell_seconds: float
    fade_tolerance_seconds: float
    """Darkness on the detector that is waited out."""
    blind_seconds: float
    """Time without any measurement that is taken for darkness; readings may be late without harm."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """A reading of the terminal, beside the prediction for the same moment."""

    time_seconds: float
    boresight: Offset
    """Where the gimbal's encoders stand, less the prediction."""
    detected: bool
    """There is more light than darkness explains."""
    error: Offset
    """The partner less the line of sight; means something when detected."""
    slewing: bool

    @property
    def partner(self) -> Offset:
        """Where the gimbal would have to stand to look at the partner, less the prediction."""
        return self.boresight[0] + self.error[0], self.boresight[1] + self.error[1]


@dataclass(frozen=True, slots=True)
class Decision:
    """What the terminal is to do."""

    state: State
    offset: Offset
    transmit: bool


class Acquisition:
    """One terminal's state. ``step`` is called once in each control cycle."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.state = State.IDLE
        self.acquisitions = 0
        self.losses = 0
        self.failed_scans = 0
        self.acquisition_seconds = 0.0
        """Duration of the last acquisition, slewing included."""
        self._offset: Offset = (0.0, 0.0)
        self._centre: Offset = (0.0, 0.0)
        self._half_angle = settings.scan_half_angle_radians
        self._spot = 0
        self._spot_since = 0.0
        self._spot_seen = False
        self._since = 0.0
        self._began = 0.0
        self._dark_since: float | None = None
        self._last_measured = -math.inf
        self._steady = 0
        self._steps: dict[State, Callable[[float, Measurement | None], State]] = {
            State.IDLE: self._idle,
            State.SLEW: self._slew,
            State.SCAN: self._scan,
            State.COARSE: self._coarse,
            State.FINE: self._fine,
            State.COMMUNICATE: self._communicate,
            State.REACQUIRE: self._reacquire,
        }

    @property
    def offset(self) -> Offset:
        """What is known of the terminal's bias."""
        return self._offset

    def retarget(self, now: float) -> None:
        """There is a new partner: turn to it."""
        self._began = now
        self._enter(State.SLEW, now)

    def stop(self, now: float) -> None:
        """There is no partner, or the terminal is disabled."""
        self._enter(State.IDLE, now)

    def step(self, now: float, measurement: Measurement | None) -> Decision:
        """Decide, on the newest measurement (``None`` when the terminal could not be read)."""
        if measurement is not None:
            if measurement.time_seconds <= self._last_measured:
                measurement = None  # seen already
            else:
                self._last_measured = measurement.time_seconds
                if math.hypot(*measurement.partner) > _WIDEST_RADIANS:
                    # Light from elsewhere: the last partner's, while the terminal turns away from it.
                    measurement = replace(measurement, detected=False)
        if measurement is not None:
            self._watch_darkness(measurement)
        following = self._steps[self.state](now, measurement)
        if following is not self.state:
            self._enter(following, now)
        transmit = self.state in (State.FINE, State.COMMUNICATE, State.REACQUIRE)
        return Decision(self.state, self._pointing(), transmit)

    def _pointing(self) -> Offset:
        if self.state not in (State.SCAN, State.REACQUIRE):
            return self._offset
        x, y = spot(self._spot, self.settings.half_field_radians)
        return self._centre[0] + x, self._centre[1] + y

    def _enter(self, state: State, now: float) -> None:
        if state is State.COMMUNICATE:
            self.acquisitions += 1
            self.acquisition_seconds = now - self._began
        if self.state is State.COMMUNICATE and state is State.REACQUIRE:
            self.losses += 1
            self._began = now
        if state in (State.SCAN, State.REACQUIRE):
            self._centre, self._spot, self._spot_since, self._spot_seen = self._offset, 0, now, False
        if state is State.SLEW:
            self._half_angle = self.settings.scan_half_angle_radians
        self.state, self._since, self._steady = state, now, 0
        self._dark_since = None

    # One method for each state: returns the state that follows.

    def _idle(self, _now: float, _measurement: Measurement | None) -> State:
        return State.IDLE

    def _slew(self, now: float, measurement: Measurement | None) -> State:
        if measurement is None or measurement.time_seconds < self._since:
            return State.SLEW
        if measurement.detected:
            return self._found(measurement)
        off = math.dist(measurement.boresight, self._offset)
        there = not measurement.slewing and off < self.settings.half_field_radians
        return State.SCAN if there else State.SLEW

    def _scan(self, now: float, measurement: Measurement | None) -> State:
        if measurement is not None and measurement.detected:
            return self._found(measurement)
        self._go_on(now, measurement)
        if self._spot > spots_in(self._half_angle, self.settings.half_field_radians):
            self.failed_scans += 1
            # What was learned may be wrong by now: begin where the drawing says, and look wider.
            self._half_angle = min(self._half_angle * _WIDER, _WIDEST_RADIANS)
            self._offset = self._centre = (0.0, 0.0)
            self._spot = 0
        return State.SCAN

    def _go_on(self, now: float, measurement: Measurement | None) -> None:
        """To the next spot, once this one was looked at: readings that come late must not leave holes in the scan."""
        if measurement is not None and measurement.time_seconds >= self._spot_since:
            self._spot_seen = True
        blind = now - self._last_measured > self.settings.blind_seconds
        if (self._spot_seen or blind) and now - self._spot_since >= self.settings.dwell_seconds:
            self._spot, self._spot_since, self._spot_seen = self._spot + 1, now, False

    def _found(self, measurement: Measurement) -> State:
        self._offset = measurement.partner
        return State.COARSE

    def _coarse(self, now: float, measurement: Measurement | None) -> State:
        if measurement is not None and measurement.detected:
            self._offset = measurement.partner
            if math.hypot(*measurement.error) < _COARSE_LIMIT_RATIO * self.settings.half_field_radians:
                return State.FINE
        return State.REACQUIRE if self._faded(now) else State.COARSE

    def _fine(self, now: float, measurement: Measurement | None) -> State:
        if measurement is not None and measurement.detected:
            self._follow(measurement)
            near = math.hypot(*measurement.error) < _FINE_LIMIT_RATIO * self.settings.half_field_radians
            self._steady = self._steady + 1 if near else 0
            if self._steady >= _STEADY_MEASUREMENTS:
                return State.COMMUNICATE
        return State.REACQUIRE if self._faded(now) else State.FINE

    def _communicate(self, now: float, measurement: Measurement | None) -> State:
        if measurement is not None and measurement.detected:
            self._follow(measurement)
        return State.REACQUIRE if self._faded(now) else State.COMMUNICATE

    def _reacquire(self, now: float, measurement: Measurement | None) -> State:
        """A small scan around where it was last; then the whole one."""
        if measurement is not None and measurement.detected:
            return self._found(measurement)
        self._go_on(now, measurement)
        field = self.settings.half_field_radians
        return State.SCAN if self._spot > spots_in(2.0 * field, field) else State.REACQUIRE

    def _follow(self, measurement: Measurement) -> None:
        partner = measurement.partner
        self._offset = (
            self._offset[0] + _TRACKING_GAIN * (partner[0] - self._offset[0]),
            self._offset[1] + _TRACKING_GAIN * (partner[1] - self._offset[1]),
        )

    def _watch_darkness(self, measurement: Measurement) -> None:
        if measurement.detected:
            self._dark_since = None
        elif self._dark_since is None and measurement.time_seconds >= self._since:
            self._dark_since = measurement.time_seconds

    def _faded(self, now: float) -> bool:
        """Whether it was dark for too long. Only what was measured counts: late readings are no fade."""
        if now - max(self._last_measured, self._since) > self.settings.blind_seconds:
            return True
        dark = self._last_measured - self._dark_since if self._dark_since is not None else 0.0
        return dark >= self.settings.fade_tolerance_seconds
