"""State of charge: counted, corrected, and never lost for a bad reading."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flight.power.battery import (
    BatteryDesign,
    ChargeEstimator,
    open_circuit_volts,
    state_of_charge_from_voltage,
)
from flight.power.battery_check import BatteryCheck
from flight.power.budget import advance

DESIGN = BatteryDesign(1200 * 3600.0, 100.0, 0.08, 0.95, 0.95, 1500.0, 2500.0)


def reading(charge: float, power_watts: float) -> tuple[float, float]:
    """Voltage and current of a battery that gives or takes this power."""
    open_circuit, _ = open_circuit_volts(charge, DESIGN.nominal_voltage_volts)
    resistance = DESIGN.internal_resistance_ohms
    voltage = 0.5 * (open_circuit + math.sqrt(open_circuit**2 + 4.0 * resistance * power_watts))
    return voltage, power_watts / voltage


@given(st.floats(0.0, 1.0))
def test_the_curve_and_its_inverse_agree(charge: float) -> None:
    voltage, slope = open_circuit_volts(charge, 100.0)
    assert state_of_charge_from_voltage(voltage, 100.0) == pytest.approx(charge, abs=1e-9)
    assert slope > 0.0


@given(st.floats(0.05, 1.0), st.floats(-1500.0, 1500.0))
def test_the_first_reading_seeds_the_estimate(charge: float, power: float) -> None:
    estimator = ChargeEstimator(DESIGN)
    estimator.update(0.0, *reading(charge, power))
    assert estimator.state_of_charge_ratio == pytest.approx(charge, abs=1e-6)
    assert estimator.power_watts == pytest.approx(power)


def test_two_orbits_with_noise_and_bias_stay_within_three_percent() -> None:
    rng = random.Random(5)
    estimator = ChargeEstimator(DESIGN)
    energy, worst = 0.9 * DESIGN.capacity_joules, 0.0
    for second in range(12_000):
        power = -500.0 if second % 5739 < 2140 else min(900.0, 1500.0 * 10 * (1 - energy / DESIGN.capacity_joules))
        energy = advance(DESIGN, energy, power, 1.0)
        voltage, current = reading(energy / DESIGN.capacity_joules, power)
        estimator.update(float(second), voltage + rng.gauss(0.05, 0.1), current + rng.gauss(0.05, 0.1))
        assert estimator.state_of_charge_ratio is not None
        worst = max(worst, abs(estimator.state_of_charge_ratio - energy / DESIGN.capacity_joules))
    assert worst < 0.03


def test_a_wrong_start_is_corrected_by_the_voltage() -> None:
    estimator = ChargeEstimator(DESIGN)
    estimator.update(0.0, *reading(0.6, 0.0))
    for second in range(1, 7200):
        estimator.update(float(second), *reading(0.75, 0.0))
    assert estimator.state_of_charge_ratio == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize(
    ("voltage", "current"), [(0.0, 0.0), (400.0, 1.0), (100.0, 1e4), (math.nan, 0.0), (100.0, math.nan)]
)
def test_what_no_battery_can_show_is_not_plausible(voltage: float, current: float) -> None:
    assert not BatteryCheck(DESIGN).believes(voltage, current, 0.0)


def test_a_stuck_monitor_is_found_out_by_the_other_meters() -> None:
    check = BatteryCheck(DESIGN)
    assert all(check.believes(110.0, 2.0, 220.0) for _ in range(1000)), "unchanged, but nobody disagrees"
    assert sum(check.believes(110.0, 2.0, -500.0) for _ in range(100)) == 0
    assert check.believes(108.0, -4.5, -500.0)
    # Meters that disagree are no proof while the monitor lives.
    assert all(check.believes(110.0, 2.0 + 0.01 * (k % 2), -500.0) for k in range(100))


def test_a_silent_monitor_is_bridged_by_the_other_meters() -> None:
    estimator = ChargeEstimator(DESIGN)
    energy = 0.9 * DESIGN.capacity_joules
    estimator.update(0.0, *reading(0.9, -400.0))
    before = estimator.deviation_ratio
    for second in range(1, 601):
        energy = advance(DESIGN, energy, -400.0, 1.0)
        estimator.coast(float(second), -400.0)
    assert estimator.state_of_charge_ratio == pytest.approx(energy / DESIGN.capacity_joules, abs=1e-3)
    assert estimator.deviation_ratio > before
    estimator.update(601.0, *reading(energy / DESIGN.capacity_joules, -400.0))
    assert estimator.state_of_charge_ratio == pytest.approx(energy / DESIGN.capacity_joules, abs=5e-3)


def test_coasting_before_any_reading_knows_nothing() -> None:
    estimator = ChargeEstimator(DESIGN)
    estimator.coast(1.0, -400.0)
    assert estimator.state_of_charge_ratio is None
