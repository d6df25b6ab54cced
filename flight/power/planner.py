"""What the power service knows of light, array and base load, and the budget that follows from it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from flight.power import forecast
from flight.power.battery import BatteryDesign
from flight.power.budget import Budget, plan
from skyrack.satellite import SatelliteFile

JOULES_PER_WATT_HOUR = 3600.0
# Under this state of charge the battery takes all that it is offered, up to its greatest charging power.
_EAGER_BELOW_RATIO = 0.88
_SATURATED_RATIO = 0.95


def battery_design(satellite: SatelliteFile) -> BatteryDesign:
    """The battery of a satellite file."""
    battery = satellite.battery
    return BatteryDesign(
        capacity_joules=battery.capacity_watt_hours * JOULES_PER_WATT_HOUR,
        nominal_voltage_volts=battery.nominal_voltage_volts,
        internal_resistance_ohms=battery.internal_resistance_ohms,
        charge_efficiency_ratio=battery.charge_efficiency_ratio,
        discharge_efficiency_ratio=battery.discharge_efficiency_ratio,
        maximum_charge_watts=battery.maximum_charge_watts,
        maximum_discharge_watts=battery.maximum_discharge_watts,
    )


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """How deep the plan may discharge the battery, and the part of that which is kept back."""

    depth_of_discharge_ratio: float
    reserve_margin_ratio: float

    @property
    def floor_ratio(self) -> float:
        """State of charge that the plan stays over."""
        return 1.0 - self.depth_of_discharge_ratio * (1.0 - self.reserve_margin_ratio)


class Planner:
    """Learns from measurements once a second, plans when asked."""

    def __init__(self, satellite: SatelliteFile, battery: BatteryDesign) -> None:
        self.battery = battery
        array = satellite.array
        self._array = forecast.ArrayDesign(
            area_m2=array.area_m2,
            efficiency_ratio=array.efficiency_ratio,
            temperature_coefficient_per_kelvin=array.temperature_coefficient_per_kelvin,
            ageing_ratio=array.ageing_ratio,
            tracking=array.tracking,
        )
        self._always_on_watts = satellite.bus_watts + satellite.antenna.watts + satellite.thermal.pump_watts
        self._base = forecast.BaseLoad()
        self._health = forecast.ArrayHealth()
        self._lit_watts = forecast.array_watts(self._array, 1.0, forecast.ASTRONOMICAL_UNIT_METERS, 0.0)
        self._sunlit_ratio = 0.0
        self._light: forecast.Light | None = None
        # End of the eclipse that goes on, and the level that compute was given in it before its last minute.
        self._held: tuple[float, float] = (0.0, 0.0)

    def set_light(self, light: forecast.Light) -> None:
        """Take navigation's forecast."""
        self._light = light

    def set_sun(self, sunlit_ratio: float, sun_distance_meters: float, beta_angle_degrees: float) -> None:
        """Take navigation's view of the Sun now."""
        self._sunlit_ratio = sunlit_ratio
        self._lit_watts = forecast.array_watts(self._array, 1.0, sun_distance_meters, beta_angle_degrees)

    def expected_array_watts(self) -> float:
        """What the array can give now, by navigation's view of the Sun and the array's learnt health."""
        return self._lit_watts * self._health.ratio * self._sunlit_ratio

    def learn(self, array_watts: float, battery_watts: float, nodes_watts: float, state_of_charge_ratio: float) -> None:
        """Take one second's good measurements; battery power is positive when charging."""
        self._base.update(max(0.0, array_watts - battery_watts - nodes_watts))
        if self._sunlit_ratio >= 1.0:
            eager = state_of_charge_ratio < _EAGER_BELOW_RATIO
            limited = eager and battery_watts < _SATURATED_RATIO * self.battery.maximum_charge_watts
            self._health.update(array_watts, self._lit_watts, is_the_limit=limited)

    def plan(
        self,
        now: float,
        state_of_charge_ratio: float,
        switched_on_watts: float,
        maximum_watts: float,
        settings: PlanSettings,
    ) -> Budget:
        """Budget for compute.

        Args:
            now: mission time.
            state_of_charge_ratio: of the battery.
            switched_on_watts: rated draw of the closed loads that are not rack nodes.
            maximum_watts: what the rack nodes that may run can draw at most.
            settings: depth of discharge and margin.
        """
        period = forecast.period_of(self._light)
        eclipses = forecast.eclipses_ahead(self._light, now, now + 3.0 * period)
        phases = forecast.phases(
            eclipses,
            now,
            period,
            lit_watts=self._lit_watts * self._health.ratio,
            base_watts=self._base.watts(self._always_on_watts + switched_on_watts),
        )
        capacity = self.battery.capacity_joules
        budget = plan(
            phases, state_of_charge_ratio * capacity, self.battery, settings.floor_ratio * capacity, maximum_watts
        )
        if not eclipses or eclipses[0][0] > now or not budget.slices:
            return budget
        end = eclipses[0][1]
        if end - now >= forecast.SHORTEST_ECLIPSE_SECONDS:
            self._held = (end, budget.slices[0].watts)
        elif (
            abs(end - self._held[0]) < forecast.SHORTEST_ECLIPSE_SECONDS
            and state_of_charge_ratio > settings.floor_ratio
        ):
            # The plan takes the eclipse for longer than it is, so that its last joules are no flash of watts. For as
            # long as the charge is over the floor they are no dip either: a job stopped there would go on at once.
            first = budget.slices[0]
            level = max(first.watts, min(self._held[1], maximum_watts))
            budget = replace(budget, slices=(replace(first, watts=level), *budget.slices[1:]))
        return budget
