"""The navigation service: reads GNSS, asks the pure modules, publishes."""

from __future__ import annotations

import math

from flight.hal import DeviceError, GnssReceiver
from flight.navigation import messages
from flight.navigation.clock_check import ClockMonitor
from flight.navigation.forecast import Forecaster
from flight.navigation.orbit import OrbitEstimate, estimate
from flight.navigation.residual import Agreement, ResidualMonitor
from flight.sensor_check import Change, SensorCheck, Tolerance, told
from flight.service import Service, every
from skyrack.orbits import OrbitError, propagate, satellite_satrec
from skyrack.v1.common_pb2 import Severity
from skyrack.v1.navigation_pb2 import NavigationParameters, OrbitForecast, OrbitState

FORECAST_PERIOD_SECONDS = 60.0
GNSS_PERIOD_SECONDS = 5.0
# A receiver scatters by metres; what it tells moves by 38 km between two fixes.
_SCATTER_METERS = 100.0
_MOVED_METERS = 20e3


class Navigation(Service):
    """Where the satellite is now, and what lies ahead."""

    name = "navigation"
    publishes = (OrbitState, OrbitForecast)
    parameters = NavigationParameters

    async def on_start(self) -> None:
        constellation = self.context.constellation
        self._satrec = satellite_satrec(constellation, self.context.satellite)
        self._forecaster = Forecaster(self._satrec, constellation.stations, self.clock.now())
        self._monitor = ResidualMonitor(self.parameters_active.gnss_residual_limit_meters)
        self._clock_monitor = ClockMonitor()
        patience = 4.0 * GNSS_PERIOD_SECONDS + 2.0 * self.clock.rate
        self._gnss_moves = SensorCheck("gnss", Tolerance(moved=_MOVED_METERS), patience_seconds=patience)
        self._gnss_scatters = SensorCheck("gnss", Tolerance(scatter=_SCATTER_METERS))
        self._last_x = math.nan
        self._sunlit: bool | None = None
        self._gnss: GnssReceiver | None = None
        try:
            self._gnss = self.devices.get("gnss", GnssReceiver)
        except DeviceError as error:
            self.event("gnss_missing", Severity.SEVERITY_WARNING, f"positions are predicted only: {error}")

    def on_parameters(self) -> None:
        self._monitor.limit_meters = self.parameters_active.gnss_residual_limit_meters

    @every(seconds=FORECAST_PERIOD_SECONDS)
    def look_ahead(self) -> None:
        """Forecast two orbits."""
        now = self.clock.now()
        self.publish(messages.orbit_forecast(self._forecaster.forecast(now), now))

    @every(seconds=1.0)
    def locate(self) -> None:
        """Position and light."""
        state = estimate(self._satrec, self.clock.now())
        self.publish(messages.orbit_state(state, self._monitor.residual_meters))
        self._tell_eclipses(state)

    @every(seconds=GNSS_PERIOD_SECONDS)
    async def check_gnss(self) -> None:
        """Whether GNSS agrees with the prediction."""
        if self._gnss is None:
            return
        fix = await self._gnss.read()
        now = self.clock.now()
        try:
            expected = propagate(self._satrec, now)
            by_gnss = fix.value.time_seconds
            # The orbit is judged at the receiver's own time: a wrong clock is not a wrong orbit.
            predicted = propagate(self._satrec, fix.mission_time_seconds if by_gnss is None else by_gnss)
        except OrbitError:
            return
        x = fix.value.position_meters[0]
        self._tell_doubts(self._gnss_moves.look(now, x if fix.good else None, expected.position_meters[0]))
        if not fix.good or self._gnss_moves.doubts or x == self._last_x:
            return
        self._last_x = x
        self._tell_doubts(self._gnss_scatters.look(now, x, predicted.position_meters[0]))
        if by_gnss is not None:
            self._check_clock(fix.mission_time_seconds, by_gnss)
        changed = self._monitor.update(fix.value.position_meters, predicted.position_meters)
        residual = round(self._monitor.residual_meters)
        if changed is Agreement.LOST:
            text = f"GNSS is {residual} m from the prediction; the elements may need an update"
            self.event("gnss_disagrees", Severity.SEVERITY_WARNING, text, residual_meters=residual)
        elif changed is Agreement.REGAINED:
            self.event("gnss_agrees", Severity.SEVERITY_INFO, f"GNSS is {residual} m from the prediction again")

    def _tell_doubts(self, changes: list[Change]) -> None:
        for change in changes:
            name, text = told(change, "m")
            severity = Severity.SEVERITY_INFO if change.over else Severity.SEVERITY_WARNING
            self.event(name, severity, text, sensor="gnss")

    def _check_clock(self, clock_seconds: float, gnss_seconds: float) -> None:
        changed = self._clock_monitor.update(clock_seconds, gnss_seconds)
        ahead = self._clock_monitor.ahead_seconds
        if changed is Agreement.LOST:
            text = f"the clock is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} GNSS; set it and reboot"
            self.event("clock_disagrees", Severity.SEVERITY_ERROR, text, ahead_seconds=round(ahead, 3))
        elif changed is Agreement.REGAINED:
            self.event("clock_agrees", Severity.SEVERITY_INFO, "the clock agrees with GNSS again")

    def _tell_eclipses(self, state: OrbitEstimate) -> None:
        sunlit = state.sunlit_ratio >= 1.0
        if self._sunlit is not None and sunlit != self._sunlit:
            if sunlit:
                self.event("eclipse_exit", Severity.SEVERITY_INFO, "full sunlight")
            else:
                self.event("eclipse_entry", Severity.SEVERITY_INFO, "the Earth covers part of the Sun")
        self._sunlit = sunlit
