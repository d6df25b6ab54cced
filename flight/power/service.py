"""The power service: reads meters, asks estimator, protection and planner, moves switches, publishes."""

from __future__ import annotations

import math
from collections.abc import Iterable

from flight.hal import DeviceError
from flight.power import messages
from flight.power.battery import ChargeEstimator
from flight.power.battery_check import BatteryCheck
from flight.power.checks import PowerChecks
from flight.power.forecast import SOLAR_CONSTANT_WATTS_PER_M2, Light
from flight.power.memory import ProtectionMemory
from flight.power.meters import Meters, Readings
from flight.power.planner import Planner, PlanSettings, battery_design
from flight.power.protection import Cause, Order, Protection, ProtectionSettings
from flight.power.ratings import load_ratings
from flight.service import Service, command, every, subscribe
from skyrack.v1.common_pb2 import CommandResult, Severity
from skyrack.v1.navigation_pb2 import OrbitForecast, OrbitState
from skyrack.v1.power_pb2 import PowerBudget, PowerParameters, PowerStatus, ResetTripRequest, SetLoadSwitchRequest
from skyrack.v1.thermal_pb2 import ThermalTrip

BUDGET_PERIOD_SECONDS = 15.0
_BATTERY_PATIENCE_SECONDS = 10.0
# In mission and in host seconds: the first readings come a moment after the start, and a busy host's come late.
_METER_PATIENCE_SECONDS = 10.0
_METER_PATIENCE_HOST_SECONDS = 2.0


class PowerManager(Service):
    """State of charge, protection, and the budget of compute."""

    name = "power"
    publishes = (PowerStatus, PowerBudget)
    parameters = PowerParameters

    async def on_start(self) -> None:
        satellite = self.context.satellite_file
        self._nodes = {node.name: node.peak_watts for node in satellite.nodes}
        self._ratings = {rating.name: rating for rating in load_ratings(satellite)}
        self._always_on_watts = satellite.bus_watts + satellite.antenna.watts + satellite.thermal.pump_watts
        self._design = battery_design(satellite)
        self._estimator = ChargeEstimator(self._design)
        self._check = BatteryCheck(self._design)
        self._planner = Planner(satellite, self._design)
        self._protection = Protection(tuple(self._ratings.values()))
        self._memory = ProtectionMemory(self.context.disk.file("power.json"))
        forgotten = self._memory.restore(self._protection)
        if forgotten:
            self.event("protection_forgotten", Severity.SEVERITY_ERROR, forgotten)
        self._meters = Meters(self.devices, satellite.load_names())
        self._readings = Readings()
        self._checks = PowerChecks(
            SOLAR_CONSTANT_WATTS_PER_M2 * satellite.array.area_m2 * satellite.array.efficiency_ratio,
            self._always_on_watts,
            satellite.load_names(),
            _METER_PATIENCE_SECONDS + _METER_PATIENCE_HOST_SECONDS * self.clock.rate,
        )
        self._battery_good_at = self.clock.now()
        self._battery_lost = False
        self.on_parameters()

    def on_parameters(self) -> None:
        active = self.parameters_active
        self._plan_settings = PlanSettings(active.depth_of_discharge_ratio, active.reserve_margin_ratio)
        self._protection_settings = ProtectionSettings(
            active.shed_state_of_charge_ratio,
            active.overdraw_persistence_seconds,
            self._design.maximum_discharge_watts,
        )

    @every(seconds=1.0)
    async def control(self) -> None:
        """Measure, estimate, protect, report."""
        readings = self._readings = await self._meters.read()
        now = self.clock.now()
        nodes_watts = sum(readings.loads[name].watts for name in self._nodes)
        self._estimate(now, readings, nodes_watts)
        self._tell_doubts(now, readings)
        charge = self._estimator.state_of_charge_ratio
        orders = self._protection.step(
            now, readings.loads, self._estimator.power_watts, charge, self._protection_settings
        )
        if self._protection.fell:
            fell = ", ".join(self._protection.fell)
            text = f"switches fell open by themselves: {fell}; they are closed again one by one"
            self.event("switches_fell_open", Severity.SEVERITY_ERROR, text, loads=fell)
        for order in orders:
            await self._obey(order)
        if orders:
            self.publish_budget()
        if charge is not None:
            floor = self._plan_settings.floor_ratio
            self.publish(messages.power_status(now, readings, self._estimator, self._design, floor, self._protection))
        try:
            self._memory.keep(self._protection)
        except OSError as error:
            # A full disk must not keep power from protecting: it is tried again in the next cycle.
            self.failed("keeping what is tripped and shed", error)

    @every(seconds=BUDGET_PERIOD_SECONDS)
    def publish_budget(self) -> None:
        """Plan anew."""
        charge = self._estimator.state_of_charge_ratio
        if charge is None:
            return
        now = self.clock.now()
        loads, held = self._readings.loads, self._protection.is_held_open
        switched_on = sum(
            rating.watts for name, rating in self._ratings.items() if name not in self._nodes and loads[name].closed
        )
        maximum = sum(peak for name, peak in self._nodes.items() if not held(name))
        budget = self._planner.plan(now, charge, switched_on, maximum, self._plan_settings)
        self.publish(messages.power_budget(now, budget))

    @subscribe(OrbitForecast)
    def on_forecast(self, forecast: OrbitForecast) -> None:
        """Light ahead."""
        eclipses = tuple((eclipse.start_seconds, eclipse.end_seconds) for eclipse in forecast.eclipses)
        light = Light(forecast.mission_time_seconds, forecast.horizon_seconds, forecast.period_seconds, eclipses)
        self._planner.set_light(light)
        self.publish_budget()

    @subscribe(OrbitState)
    def on_orbit(self, state: OrbitState) -> None:
        """The Sun now."""
        self._planner.set_sun(state.sunlit_ratio, state.sun_distance_meters, state.beta_angle_degrees)

    @subscribe(ThermalTrip)
    async def on_thermal_trip(self, trip: ThermalTrip) -> None:
        """Cut the load at once; thermal protection repeats itself until it sees the switch open."""
        order = self._protection.trip(trip.load, Cause.THERMAL)
        if order is not None:
            await self._obey(order)
            self.publish_budget()
        elif trip.load in self._protection.tripped:
            await self._meters.switches[trip.load].set_closed(False)

    @command
    async def set_load_switch(self, request: SetLoadSwitchRequest) -> CommandResult:
        """Open or close a switch, as far as protection allows."""
        rating = self._ratings.get(request.load)
        if rating is None:
            return _no_such_load(request.load, self._ratings)
        if request.closed and self._protection.is_held_open(request.load):
            cause = self._protection.tripped.get(request.load, Cause.LOW_CHARGE)
            remedy = "reset its trip first" if request.load in self._protection.tripped else "wait until it recovers"
            return CommandResult(reason=f"{request.load} is held open by protection: {cause.value}; {remedy}")
        if not request.closed and rating.priority == 0:
            return CommandResult(reason=f"{request.load} has priority 0 and is never switched off")
        self._protection.fallen.mean(request.load, closed=request.closed)
        await self._meters.switches[request.load].set_closed(request.closed)
        verb = "closed" if request.closed else "opened"
        self.event("switch_" + verb, Severity.SEVERITY_INFO, f"switch of {request.load} {verb}", load=request.load)
        return CommandResult(ok=True, reason=f"switch of {request.load} {verb}")

    @command
    def reset_trip(self, request: ResetTripRequest) -> CommandResult:
        """Let a tripped load be powered again; its switch stays open until it is closed by command."""
        if request.load not in self._ratings:
            return _no_such_load(request.load, self._ratings)
        if not self._protection.reset(request.load):
            return CommandResult(reason=f"{request.load} is not tripped")
        self.publish_budget()
        return CommandResult(ok=True, reason=f"trip of {request.load} reset; its switch may be closed")

    def _estimate(self, now: float, readings: Readings, nodes_watts: float) -> None:
        battery, charge = readings.battery, self._estimator.state_of_charge_ratio
        others_watts = self._other_meters_watts(readings)
        if battery is not None and self._check.believes(battery.voltage_volts, battery.current_amperes, others_watts):
            self._estimator.update(now, battery.voltage_volts, battery.current_amperes)
            self._battery_good_at = now
            if readings.array_watts is not None and charge is not None:
                self._planner.learn(readings.array_watts, self._estimator.power_watts, nodes_watts, charge)
            if charge is None:
                self.publish_budget()
        else:
            self._estimator.coast(now, others_watts)
        lost = now - self._battery_good_at > _BATTERY_PATIENCE_SECONDS
        if lost and not self._battery_lost:
            text = "battery monitor gives no usable reading; state of charge is counted from the other meters"
            self.event("battery_unreadable", Severity.SEVERITY_ERROR, text)
        elif self._battery_lost and not lost:
            self.event("battery_readable", Severity.SEVERITY_INFO, "battery monitor answers again")
        self._battery_lost = lost

    def _tell_doubts(self, now: float, readings: Readings) -> None:
        battery = readings.battery
        watts = battery.voltage_volts * battery.current_amperes if battery is not None else None
        for name, text, sensor in self._checks.look(now, readings, watts):
            severity = Severity.SEVERITY_INFO if name == "sensor_trusted" else Severity.SEVERITY_WARNING
            self.event(name, severity, text, sensor=sensor)

    def _other_meters_watts(self, readings: Readings) -> float:
        """Battery power as array and loads tell it."""
        loads = sum(reading.watts for reading in readings.loads.values())
        array = readings.array_watts
        if array is None:
            # Meters often fall silent together, as on a bus that stalls: that is no sign of a dark or dead array.
            array = self._planner.expected_array_watts()
        # The regulator takes no more from the array than loads and battery want.
        return min(array - loads - self._always_on_watts, self._design.maximum_charge_watts)

    async def _obey(self, order: Order) -> None:
        try:
            await self._meters.switches[order.load].set_closed(order.closed)
        except DeviceError as error:
            # A switch that is gone must not keep the others from being opened; it is ordered again in the next cycle.
            self.failed(f"switching {order.load}", error)
            return
        reading = self._readings.loads.get(order.load)
        watts = round(reading.watts, 1) if reading is not None and math.isfinite(reading.watts) else 0.0
        severity = Severity.SEVERITY_INFO if order.closed else Severity.SEVERITY_ERROR
        name = "load_restored" if order.closed else "load_opened"
        text = f"{order.load} {'powered again' if order.closed else 'cut'}: {order.cause.value}"
        self.event(name, severity, text, load=order.load, cause=order.cause.name.lower(), watts=watts)


def _no_such_load(load: str, known: Iterable[str]) -> CommandResult:
    return CommandResult(reason=f'there is no load "{load}"; known are {", ".join(known)}')
