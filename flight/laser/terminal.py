"""One laser terminal: its device, its state machine, its target."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from sgp4.api import Satrec

from flight.hal import LaserReading, LaserTerminal, Reading
from flight.laser import link_budget, targets
from flight.laser.acquisition import Acquisition, Measurement, Settings, State
from flight.laser.geometry import Aim, aim, coast, track, wrap
from skyrack.orbits import OrbitPosition, propagate
from skyrack.satellite import Laser
from skyrack.v1 import laser_pb2
from skyrack.v1.laser_pb2 import LaserParameters, LaserState, LaserStatus

_STATES: Final[dict[State, LaserState]] = {
    State.IDLE: laser_pb2.LASER_STATE_IDLE,
    State.SLEW: laser_pb2.LASER_STATE_SLEW,
    State.SCAN: laser_pb2.LASER_STATE_SCAN,
    State.COARSE: laser_pb2.LASER_STATE_COARSE,
    State.FINE: laser_pb2.LASER_STATE_FINE,
    State.COMMUNICATE: laser_pb2.LASER_STATE_COMMUNICATE,
    State.REACQUIRE: laser_pb2.LASER_STATE_REACQUIRE,
}

_DETECTION_RATIO: Final = 0.05
"""Light below this part of the predicted power is taken for noise."""

_SAME_MOMENT_SECONDS: Final = 1e-3
_COASTING_SECONDS: Final = 5.0
_BLIND_SECONDS: Final = 30.0
_BLIND_HOST_SECONDS: Final = 2.0
_SEARCH_SECONDS: Final = 10.0
_HANDOVER_SECONDS: Final = 5.0
_GIVE_UP_SCANS: Final = 2
_AHEAD_SECONDS: Final = 2.0
"""The commanded line meets the partner's path now and so much later: it takes a cycle or two to be replaced."""


class Terminal:
    """Steers one terminal. Times are mission seconds."""

    def __init__(
        self,
        design: Laser,
        device: LaserTerminal,
        own: Satrec,
        relays: Sequence[tuple[str, Satrec]],
        rate: float = 1.0,
    ) -> None:
        """``rate`` is mission seconds per second of the host: at a high one, a busy host's readings are later."""
        self.design = design
        self.enabled = True
        self._device = device
        self._own = own
        self._relays = relays
        self._rate = rate
        self._acquisition = Acquisition(self._settings(LaserParameters()))
        self._target: targets.Target | None = None
        self._next_search = -math.inf
        self._avoid = ""
        self._scans_before = 0
        self._transmitting: bool | None = None
        self._aim: Aim | None = None
        self._reading: LaserReading | None = None

    @property
    def state(self) -> State:
        """What the terminal is doing."""
        return self._acquisition.state

    @property
    def peer(self) -> str:
        """Name of the relay that it is turned to."""
        return self._target.name if self._target else ""

    @property
    def acquisition_seconds(self) -> float:
        """Duration of the last acquisition."""
        return self._acquisition.acquisition_seconds

    def set_parameters(self, parameters: LaserParameters) -> None:
        """New parameters are active."""
        self._acquisition.settings = self._settings(parameters)

    def restart(self, now: float) -> None:
        """It has power again: what was searched in vain without it says nothing about where its partner is."""
        if self._target is not None and self.state is not State.COMMUNICATE:
            self._acquisition.retarget(now)
            self._scans_before = self._acquisition.failed_scans

    def _settings(self, parameters: LaserParameters) -> Settings:
        return Settings(
            half_field_radians=0.5 * self.design.field_of_view_radians,
            scan_half_angle_radians=parameters.scan_half_angle_radians,
            dwell_seconds=parameters.scan_dwell_seconds,
            fade_tolerance_seconds=parameters.fade_tolerance_seconds,
            blind_seconds=_BLIND_SECONDS + _BLIND_HOST_SECONDS * self._rate,
        )

    async def control(self, now: float, known: OrbitPosition | None) -> None:
        """One control cycle. ``known`` is where the satellite is now; without it, where its elements say.

        Raises:
            OrbitError: SGP4 cannot say where anybody is.
        """
        self._choose_target(now)
        reading = await self._device.read()
        self._reading = reading.value if reading.good else None
        target = self._target
        if target is None:
            self._aim = None
            self._acquisition.step(now, None)
            await self._transmit(False)
            return
        here = known or propagate(self._own, now)
        there = propagate(target.satrec, now)
        self._aim = aim(here, there)
        decision = self._acquisition.step(now, self._measurement(reading, here, there, self._aim, now))
        late = aim(coast(here, _AHEAD_SECONDS), coast(there, _AHEAD_SECONDS))
        line = track(now, self._aim, late, now, now + _AHEAD_SECONDS)
        await self._device.point(
            wrap(line.azimuth_radians + decision.offset[0] / math.cos(line.elevation_radians)),
            line.elevation_radians + decision.offset[1],
            point_ahead=self._aim.point_ahead_radians,
            rates=(line.azimuth_rate, line.elevation_rate),
            at_seconds=now,
        )
        await self._transmit(decision.transmit)

    def _choose_target(self, now: float) -> None:
        target = self._target
        if not self.enabled:
            if target is not None:
                self._drop(now)
            return
        if target is not None:
            searched = self._acquisition.failed_scans - self._scans_before
            ends = target.end_seconds - now < _HANDOVER_SECONDS
            if not ends and searched < _GIVE_UP_SCANS:
                return
            self._avoid = target.name if searched else ""
        if now < self._next_search:
            if target is not None and target.end_seconds <= now:
                self._drop(now)
            return
        self._next_search = now + _SEARCH_SECONDS
        chosen = targets.choose(self.design, self._own, self._relays, now, self._avoid)
        self._scans_before = self._acquisition.failed_scans
        if chosen is None:
            self._drop(now)
        elif target is not None and chosen.name == target.name:
            self._target = chosen
        else:
            self._target = chosen
            self._acquisition.retarget(now)

    def _drop(self, now: float) -> None:
        self._target = None
        self._acquisition.stop(now)

    def _measurement(
        self, reading: Reading[LaserReading], here: OrbitPosition, there: OrbitPosition, look: Aim, now: float
    ) -> Measurement | None:
        target = self._target
        if not reading.good or target is None:
            return None
        value, back = reading.value, reading.mission_time_seconds - now
        if abs(back) < _SAME_MOMENT_SECONDS:
            predicted = look
        elif abs(back) < _COASTING_SECONDS:
            predicted = aim(coast(here, back), coast(there, back))
        else:
            at = reading.mission_time_seconds
            predicted = aim(propagate(self._own, at), propagate(target.satrec, at))
        threshold = _DETECTION_RATIO * link_budget.received_power_watts(self.design, predicted.range_meters)
        return Measurement(
            time_seconds=reading.mission_time_seconds,
            boresight=(
                wrap(value.azimuth_radians - predicted.azimuth_radians) * math.cos(predicted.elevation_radians),
                value.elevation_radians - predicted.elevation_radians,
            ),
            detected=value.received_power_watts > threshold,
            error=value.tracking_error_radians,
            slewing=value.slewing,
        )

    async def _transmit(self, on: bool) -> None:
        if on is not self._transmitting:
            await self._device.set_transmitter(on)
            self._transmitting = on

    def status(self, now: float) -> LaserStatus:
        """What the terminal is doing, as told to others."""
        acquisition, seen, look = self._acquisition, self._reading, self._aim
        status = LaserStatus(
            mission_time_seconds=now,
            terminal=self.design.name,
            state=_STATES[acquisition.state],
            peer=self.peer,
            acquisition_seconds=acquisition.acquisition_seconds,
            acquisitions_total=acquisition.acquisitions,
            losses_total=acquisition.losses,
        )
        if look is not None:
            status.range_meters = look.range_meters
            status.predicted_power_watts = link_budget.received_power_watts(self.design, look.range_meters)
            status.point_ahead_radians = math.hypot(*look.point_ahead_radians)
        if seen is not None and look is not None:
            status.received_power_watts = max(0.0, seen.received_power_watts)
            status.pointing_error_radians = math.hypot(*seen.tracking_error_radians)
            if acquisition.state is State.COMMUNICATE:
                rate = link_budget.rate_bits_per_second(self.design, seen.received_power_watts)
                status.rate_bits_per_second = rate
        return status
