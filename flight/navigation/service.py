"""The navigation service: reads GNSS, asks the pure modules, publishes."""

from __future__ import annotations

from flight.hal import DeviceError, GnssReceiver
from flight.navigation import messages
from flight.navigation.clock_check import ClockMonitor
from flight.navigation.forecast import Forecaster
from flight.navigation.orbit import OrbitEstimate, estimate
from flight.navigation.residual import Agreement, ResidualMonitor
from flight.service import Service, every
from skyrack.orbits import OrbitError, propagate, satellite_satrec
from skyrack.v1.common_pb2 import Severity
from skyrack.v1.navigation_pb2 import NavigationParameters, OrbitForecast, OrbitState

FORECAST_PERIOD_SECONDS = 60.0
GNSS_PERIOD_SECONDS = 5.0


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
        if not fix.good:
            return
        by_gnss = fix.value.time_seconds
        if by_gnss is not None:
            self._check_clock(fix.mission_time_seconds, by_gnss)
        try:
            # The orbit is judged at the receiver's own time: a wrong clock is not a wrong orbit.
            predicted = propagate(self._satrec, fix.mission_time_seconds if by_gnss is None else by_gnss)
        except OrbitError:
            return
        changed = self._monitor.update(fix.value.position_meters, predicted.position_meters)
        residual = round(self._monitor.residual_meters)
        if changed is Agreement.LOST:
            text = f"GNSS is {residual} m from the prediction; the elements may need an update"
            self.event("gnss_disagrees", Severity.SEVERITY_WARNING, text, residual_meters=residual)
        elif changed is Agreement.REGAINED:
            self.event("gnss_agrees", Severity.SEVERITY_INFO, f"GNSS is {residual} m from the prediction again")

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
