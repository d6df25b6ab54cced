"""Power's values as messages of the contract."""

from __future__ import annotations

from flight.power.battery import BatteryDesign, ChargeEstimator
from flight.power.budget import Budget
from flight.power.meters import Readings
from flight.power.protection import Protection
from skyrack.v1.power_pb2 import BudgetSlice, LoadStatus, PowerBudget, PowerStatus


def power_status(
    now: float,
    readings: Readings,
    estimator: ChargeEstimator,
    design: BatteryDesign,
    floor_ratio: float,
    protection: Protection,
) -> PowerStatus:
    """State of the power system; what a silent meter would have said is left at zero."""
    charge = estimator.state_of_charge_ratio or 0.0
    array = readings.array_watts or 0.0
    battery = readings.battery
    metered = sum(reading.watts for reading in readings.loads.values())
    return PowerStatus(
        mission_time_seconds=now,
        state_of_charge_ratio=charge,
        battery_voltage_volts=battery.voltage_volts if battery is not None else 0.0,
        battery_current_amperes=battery.current_amperes if battery is not None else 0.0,
        array_power_watts=array,
        load_power_watts=max(0.0, array - estimator.power_watts) if readings.array_watts is not None else metered,
        battery_energy_joules=max(0.0, charge - floor_ratio) * design.capacity_joules,
        loads=[
            LoadStatus(
                load=name,
                draw_watts=reading.watts,
                switch_closed=reading.closed,
                tripped=protection.is_held_open(name),
            )
            for name, reading in readings.loads.items()
        ],
    )


def power_budget(now: float, budget: Budget) -> PowerBudget:
    """The budget, slice by slice."""
    return PowerBudget(
        mission_time_seconds=now,
        end_seconds=budget.end_seconds,
        compute=[BudgetSlice(start_seconds=piece.start_seconds, watts=piece.watts) for piece in budget.slices],
        compute_now_watts=budget.watts_at(now),
        compute_mean_watts=budget.mean_watts(),
    )
