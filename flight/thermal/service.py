"""The thermal service: reads thermometers, asks the pure modules, moves pump and heaters, publishes."""

from __future__ import annotations

from flight.hal import DeviceError
from flight.sensor_check import SensorCheck, Tolerance, told
from flight.service import Service, command, every, subscribe
from flight.thermal import budget
from flight.thermal.checks import ThermalChecks
from flight.thermal.control import PumpControl
from flight.thermal.devices import Heaters, PumpDrive, Thermometers
from flight.thermal.faults import LastingFaults
from flight.thermal.network import ThermalEstimator, radiated_watts
from flight.thermal.protection import TripDetector, TripLimits
from flight.thermal.rack import RackHeat, rack_of
from skyrack.v1.common_pb2 import CommandResult, Severity
from skyrack.v1.navigation_pb2 import OrbitForecast
from skyrack.v1.power_pb2 import BudgetSlice, PowerStatus
from skyrack.v1.thermal_pb2 import (
    NodeTemperature,
    SetPumpRequest,
    ThermalBudget,
    ThermalParameters,
    ThermalStatus,
    ThermalTrip,
)

BUDGET_PERIOD_SECONDS = 15.0
_ORBIT_SECONDS = 5760.0
# A thermometer is lost when it says nothing usable for so long, in mission and in host seconds: the first readings
# come a moment after the start, and a busy host's come late.
_LOST_SECONDS = 5.0
_LOST_HOST_SECONDS = 2.0


# A tachometer that stands still to the last bit while the duty goes up or down.
_PUMP_TOLERANCE = Tolerance(scatter=0.2, moved=0.15, repeats=60)


class ThermalManager(Service):
    """Temperatures, pump and heaters, protection, and the heat budget of compute."""

    name = "thermal"
    publishes = (ThermalStatus, ThermalBudget, ThermalTrip)
    parameters = ThermalParameters

    async def on_start(self) -> None:
        satellite = self.context.satellite_file
        self._thermal = satellite.thermal
        self._estimator = ThermalEstimator(satellite.thermal, tuple(node.name for node in satellite.nodes))
        self._rack, self._rack_heat = rack_of(satellite), RackHeat(satellite)
        self._thermometers = Thermometers(self.devices, satellite)
        self._pump, self._pump_control = PumpDrive(self.devices), PumpControl()
        self._heaters = Heaters(self.devices, satellite)
        self._checks = ThermalChecks(satellite.thermal, self._estimator.nodes)
        self._pump_check = SensorCheck(
            "pump", _PUMP_TOLERANCE, patience_seconds=_LOST_SECONDS + _LOST_HOST_SECONDS * self.clock.rate
        )
        self._detectors = {node.name: TripDetector() for node in satellite.nodes}
        self._held_duty, self._held_until = 0.0, float("-inf")
        self._stepped_at: float | None = None
        self._calling_out: set[str] = set()
        self._stall_told = False
        self._lost = LastingFaults(_LOST_SECONDS + _LOST_HOST_SECONDS * self.clock.rate)
        self._eclipses: tuple[tuple[float, float], ...] = ()
        self._horizon_seconds = 2.0 * _ORBIT_SECONDS

    @every(seconds=1.0)
    async def control(self) -> None:
        """Measure, estimate, protect, move pump and heaters, report."""
        now = self.clock.now()
        seconds = 0.0 if self._stepped_at is None else now - self._stepped_at
        self._stepped_at = now
        await self._pump.read(now)
        heat = self._rack_heat.heat(self._pump.duty_ratio, self._heaters.watts)
        readings = await self._thermometers.read()
        self._estimator.step(seconds, heat, self._pump.duty_ratio, readings)
        self._protect(now)
        try:
            await self._move_pump(now, seconds)
        except DeviceError as error:
            # A pump that is gone must not keep the heaters from being switched, and the status from being told.
            self.failed("moving the pump", error)
        celsius = {name: node.celsius for name, node in self._estimator.nodes.items()}
        await self._heaters.step(celsius, self.parameters_active.battery_minimum_celsius)
        for failure in self._heaters.failures:
            self.failed("switching a heater", failure)
        self._tell_faults(now)
        self._tell_doubts(now, seconds, readings)
        self._publish_status(now)

    @every(seconds=BUDGET_PERIOD_SECONDS)
    def publish_budget(self) -> None:
        """Plan anew. While a trip is not obeyed compute is asked to stop altogether."""
        now = self.clock.now()
        limit = self.parameters_active.chip_limit_celsius
        duty = self._pump.duty_ratio if self._pump.stalled else 1.0
        lit, dark = (budget.capacity_watts(self._thermal, self._rack, limit, duty, lit=lit) for lit in (True, False))
        share = 0.0 if self._calling_out else budget.derating(self._estimator.hottest_chip_celsius(), limit)
        slices = budget.plan(now, self._eclipses, lit, dark, share)
        self.publish(
            ThermalBudget(
                mission_time_seconds=now,
                end_seconds=now + self._horizon_seconds,
                compute=[BudgetSlice(start_seconds=piece.start_seconds, watts=piece.watts) for piece in slices],
                compute_now_watts=slices[0].watts,
            )
        )

    @subscribe(OrbitForecast)
    def on_forecast(self, forecast: OrbitForecast) -> None:
        """Light ahead; without it the Sun is taken to shine always, which is the warmer case."""
        self._eclipses = tuple((eclipse.start_seconds, eclipse.end_seconds) for eclipse in forecast.eclipses)
        self._horizon_seconds = forecast.horizon_seconds

    @subscribe(PowerStatus)
    def on_power(self, status: PowerStatus) -> None:
        """What the nodes draw, and which switches are open."""
        self._rack_heat.update(self.clock.now(), status)

    @command
    def set_pump(self, request: SetPumpRequest) -> CommandResult:
        """Hold the pump at a duty; a chip near its limit takes the pump back."""
        self._held_duty = request.duty_ratio
        self._held_until = self.clock.now() + request.hold_seconds
        reason = f"pump held at duty {request.duty_ratio:g} for {request.hold_seconds:g} s"
        return CommandResult(ok=True, reason=reason)

    def _protect(self, now: float) -> None:
        active = self.parameters_active
        limits = TripLimits(active.chip_trip_celsius, active.chip_limit_celsius)
        calling = set()
        for name, detector in self._detectors.items():
            node = self._estimator.nodes[name]
            is_open = self._rack_heat.is_open(name, now)
            if detector.step(now, node.celsius, limits, valid=node.valid, switch_open=is_open):
                calling.add(name)
                trip = ThermalTrip(mission_time_seconds=now, node=name, load=name, temperature_celsius=node.celsius)
                self.publish(trip, key=name)
                if name not in self._calling_out:
                    text = f"{name} is at {node.celsius:.1f} degrees Celsius; its power must be cut"
                    self.event("thermal_trip", Severity.SEVERITY_CRITICAL, text, node=name)
        if calling != self._calling_out:
            self._calling_out = calling
            self.publish_budget()

    async def _move_pump(self, now: float, seconds: float) -> None:
        active, nodes = self.parameters_active, self._estimator.nodes
        duty = self._pump_control.step(
            seconds,
            self._estimator.hottest_chip_celsius(),
            active.chip_target_celsius,
            active.chip_limit_celsius,
            trusted=all(nodes[name].valid for name in self._estimator.chips),
        )
        if now < self._held_until and duty < 1.0:
            duty = self._held_duty
        await self._pump.command(duty)

    def _tell_faults(self, now: float) -> None:
        if self._pump.stalled != self._stall_told:
            self._stall_told = self._pump.stalled
            if self._pump.stalled:
                text = f"pump runs at duty {self._pump.duty_ratio:.2f}, less than it is told to"
                self.event("pump_stalled", Severity.SEVERITY_ERROR, text)
            else:
                self.event("pump_recovered", Severity.SEVERITY_INFO, "pump follows its command again")
            self.publish_budget()
        invalid = [name for name, node in self._estimator.nodes.items() if not node.valid]
        lost, found = self._lost.update(now, invalid)
        for name in lost:
            text = f"thermometer of {name} is silent or not plausible; its temperature is modelled"
            self.event("thermometer_lost", Severity.SEVERITY_WARNING, text, node=name)
        for name in found:
            self.event("thermometer_recovered", Severity.SEVERITY_INFO, f"thermometer of {name} is back", node=name)

    def _tell_doubts(self, now: float, seconds: float, readings: dict[str, float | None]) -> None:
        for name, text, node in self._checks.look(now, seconds, readings, not self._pump.stalled):
            self.event(name, _severity(name), text, sensor=f"thermal.{node}")
        for change in self._pump_check.look(now, self._pump.measured_ratio, self._pump.commanded_ratio):
            name, text = told(change, "of full duty")
            self.event(name, _severity(name), text, sensor="pump")

    def _publish_status(self, now: float) -> None:
        nodes = self._estimator.nodes
        radiator = nodes["radiator"].celsius
        self.publish(
            ThermalStatus(
                mission_time_seconds=now,
                nodes=[
                    NodeTemperature(node=name, temperature_celsius=node.celsius, valid=node.valid)
                    for name, node in nodes.items()
                ],
                pump_duty_ratio=self._pump.duty_ratio,
                heater_power_watts=sum(self._heaters.watts.values()),
                radiated_power_watts=radiated_watts(self._thermal, radiator),
                chip_maximum_celsius=self._estimator.hottest_chip_celsius(),
                radiator_celsius=radiator,
                battery_celsius=nodes["battery"].celsius,
            )
        )


def _severity(name: str) -> Severity:
    calm = name in ("sensor_trusted", "radiator_recovered")
    return Severity.SEVERITY_INFO if calm else Severity.SEVERITY_WARNING
