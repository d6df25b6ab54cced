"""Thermal's pure modules: estimator, budget, control, protection."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flight.thermal import budget
from flight.thermal.control import MINIMUM_DUTY_RATIO, PumpControl, Thermostat
from flight.thermal.faults import LastingFaults
from flight.thermal.network import Heat, NodeEstimate, ThermalEstimator, flow_ratio, radiated_watts
from flight.thermal.protection import TripDetector, TripLimits
from flight.thermal.rack import rack_of
from skyrack import files
from skyrack.satellite import load_satellite

SATELLITE = load_satellite(files.shipped("satellites", "pathfinder"))
THERMAL, RACK = SATELLITE.thermal, rack_of(SATELLITE)
CHIPS = tuple(node.name for node in SATELLITE.nodes)
LIMITS = TripLimits(trip_celsius=95.0, limit_celsius=85.0)


def settle(watts: dict[str, float], duty: float, seconds: float, step: float = 10.0) -> ThermalEstimator:
    """Temperatures after a time of constant heat, by the model alone."""
    estimator = ThermalEstimator(THERMAL, CHIPS)
    absorbed = budget.environment_watts(THERMAL, lit=True)
    heat = Heat(watts, {}, RACK.loop_watts, RACK.panel_watts + absorbed)
    for _ in range(round(seconds / step)):
        estimator.step(step, heat, duty, {})
    return estimator


@pytest.mark.parametrize("duty", [0.3, 1.0])
@pytest.mark.parametrize("step", [1.0, 10.0, 60.0])
def test_the_network_settles_where_the_budget_says(duty: float, step: float) -> None:
    watts = {"node-1": 600.0, "node-2": 600.0}
    estimator = settle(watts, duty, 40_000.0, step)
    absorbed = budget.environment_watts(THERMAL, lit=True)
    # Evenly loaded: neither node at its peak.
    even = budget.Rack(1400.0, 600.0, RACK.panel_watts, RACK.loop_watts)
    expected = budget.settled_chip_celsius(THERMAL, even, 1200.0, duty, absorbed)
    assert estimator.hottest_chip_celsius() == pytest.approx(expected, abs=0.3)
    given_off = radiated_watts(THERMAL, estimator.nodes["radiator"].celsius)
    assert given_off == pytest.approx(1200.0 + RACK.loop_watts + RACK.panel_watts + absorbed, rel=2e-3)


@given(
    st.floats(40.0, 100.0),
    st.floats(0.05, 1.0),
    st.booleans(),
    st.floats(100.0, 20_000.0),
    st.floats(0.5, 6.0),
)
def test_heat_within_the_budget_settles_under_the_limit(
    limit: float, duty: float, lit: bool, peak: float, area: float
) -> None:
    import msgspec

    thermal = msgspec.structs.replace(THERMAL, radiator_area_m2=area)
    rack = budget.Rack(peak, 0.5 * peak, 200.0, 25.0)
    watts = budget.capacity_watts(thermal, rack, limit, duty, lit=lit)
    absorbed = budget.environment_watts(thermal, lit=lit)
    assert 0.0 <= watts <= peak
    if watts > 0.0:
        assert budget.settled_chip_celsius(thermal, rack, watts, duty, absorbed) < limit
    if watts < peak:
        assert budget.settled_chip_celsius(thermal, rack, watts + 2.0, duty, absorbed) > limit - 5.0 - 1e-9
    assert watts <= budget.capacity_watts(thermal, rack, limit, duty, lit=False) + 1e-9


def test_the_heat_plan_follows_light_and_derates_near_the_limit() -> None:
    eclipses = [(500.0, 2500.0), (6200.0, 8200.0)]
    plain = budget.plan(0.0, eclipses, 1000.0, 1200.0, 1.0)
    assert [(s.start_seconds, s.watts) for s in plain] == [
        (0.0, 1000.0), (500.0, 1200.0), (2500.0, 1000.0), (6200.0, 1200.0), (8200.0, 1000.0),
    ]  # fmt: skip
    inside = budget.plan(600.0, eclipses, 1000.0, 1200.0, 1.0)
    assert [(s.start_seconds, s.watts) for s in inside][:2] == [(600.0, 1200.0), (2500.0, 1000.0)]
    near = budget.plan(450.0, eclipses, 1000.0, 1200.0, 0.5)
    assert [(s.start_seconds, s.watts) for s in near][:4] == [
        (450.0, 500.0), (500.0, 600.0), (570.0, 1200.0), (2500.0, 1000.0),
    ]  # fmt: skip
    assert budget.derating(90.0, 85.0) == 0.0
    assert budget.derating(70.0, 85.0) == 1.0
    assert 0.0 < budget.derating(83.5, 85.0) < 1.0


def test_standing_coolant_still_conducts_a_little() -> None:
    assert flow_ratio(0.0) == 0.02
    assert flow_ratio(1.0) == 1.0
    stopped = budget.capacity_watts(THERMAL, RACK, 85.0, 0.0, lit=True)
    assert stopped < 300.0


def test_the_estimator_follows_a_noisy_sensor_and_bridges_a_silent_one() -> None:
    rng = random.Random(3)
    truth = settle({"node-1": 650.0, "node-2": 100.0}, 0.6, 0.0)
    estimator = ThermalEstimator(THERMAL, CHIPS)
    heat = Heat({"node-1": 650.0, "node-2": 100.0}, {}, 25.0, 400.0)
    for second in range(1200):
        truth.step(1.0, heat, 0.6, {})
        silent = second > 600
        readings = {
            name: None if silent and name == "node-1" else node.celsius + rng.gauss(0.0, 0.3)
            for name, node in truth.nodes.items()
        }
        estimator.step(1.0, heat, 0.6, readings)
    assert estimator.nodes["node-2"].valid
    assert not estimator.nodes["node-1"].valid
    for name, node in truth.nodes.items():
        assert estimator.nodes[name].celsius == pytest.approx(node.celsius, abs=1.0)


def test_a_jump_is_not_believed_until_it_insists() -> None:
    node = NodeEstimate(20.0)
    node.correct(20.0)
    node.correct(95.0)
    assert (node.celsius, node.valid) == (20.0, False)
    node.correct(20.1)
    assert node.valid
    for _ in range(10):
        node.correct(95.0)
    assert (node.celsius, node.valid) == (95.0, True)


def test_a_stuck_sensor_is_found_out_by_the_model() -> None:
    node = NodeEstimate(20.0)
    node.correct(20.0)
    for _ in range(100):
        node.predict(node.celsius + 0.5)
        node.correct(20.0)
    assert not node.valid
    assert node.celsius > 40.0
    node.predict(node.celsius)
    node.correct(node.celsius + 0.1)
    assert node.valid


@pytest.mark.parametrize("reading", [None, -273.0, 900.0, float("nan")])
def test_no_reading_and_nonsense_are_not_valid(reading: float | None) -> None:
    node = NodeEstimate(20.0)
    node.correct(reading)
    assert not node.valid
    assert node.celsius == 20.0


def test_the_pump_holds_the_chip_at_its_target() -> None:
    estimator, control = ThermalEstimator(THERMAL, CHIPS), PumpControl()
    heat = Heat(dict.fromkeys(CHIPS, 600.0), {}, 25.0, 400.0)
    duty, hottest = 0.0, []
    for _ in range(4000):
        estimator.step(1.0, heat, duty, {})
        hottest.append(estimator.hottest_chip_celsius())
        duty = control.step(1.0, hottest[-1], 70.0, 85.0, trusted=True)
    assert max(hottest) < 85.0
    assert hottest[-500:] == pytest.approx([70.0] * 500, abs=1.5)
    assert MINIMUM_DUTY_RATIO < duty < 1.0


def test_the_pump_gives_all_when_hot_or_blind_and_little_when_cold() -> None:
    control = PumpControl()
    assert control.step(1.0, 82.0, 70.0, 85.0, trusted=True) == 1.0
    assert control.step(1.0, 30.0, 70.0, 85.0, trusted=False) == 1.0
    for _ in range(100):
        duty = control.step(1.0, 30.0, 70.0, 85.0, trusted=True)
    assert duty == MINIMUM_DUTY_RATIO


def test_the_thermostat_has_hysteresis() -> None:
    thermostat = Thermostat()
    assert [thermostat.step(c, 10.0) for c in (12.0, 9.9, 11.0, 12.9, 13.1, 12.0)] == [
        False, True, True, True, False, False,
    ]  # fmt: skip


def calls(detector: TripDetector, temperatures: list[float], *, valid: bool = True) -> list[bool]:
    return [
        detector.step(float(k), celsius, LIMITS, valid=valid, switch_open=False)
        for k, celsius in enumerate(temperatures)
    ]


def test_a_trip_needs_to_last_and_is_repeated_until_the_switch_opens() -> None:
    detector = TripDetector()
    assert not any(calls(detector, [94.0, 96.0, 94.0, 96.0, 94.0]))
    detector = TripDetector()
    assert calls(detector, [96.0] * 6) == [False, False, True, True, True, True]
    # Cooler, but nobody has seen the switch open.
    assert detector.step(7.0, 90.0, LIMITS, valid=True, switch_open=False)
    assert not detector.step(8.0, 90.0, LIMITS, valid=True, switch_open=True)
    assert detector.tripped
    detector.step(9.0, 75.0, LIMITS, valid=True, switch_open=True)
    assert not detector.tripped


def test_a_fast_rise_trips_before_the_limit_is_reached() -> None:
    detector = TripDetector()
    rise = [80.0 + 1.5 * k for k in range(9)]
    assert max(rise) < 95.0
    assert any(calls(detector, rise))
    assert not any(calls(TripDetector(), [60.0 + 1.5 * k for k in range(9)]))


def test_without_a_sensor_the_model_trips_earlier() -> None:
    assert not any(calls(TripDetector(), [91.0] * 10))
    assert any(calls(TripDetector(), [91.0] * 10, valid=False))


def test_only_faults_that_last_are_told_and_their_ends() -> None:
    faults = LastingFaults(5.0)
    assert faults.update(0.0, ["loop", "radiator"]) == ([], []), "the first readings have not come"
    assert faults.update(3.0, ["loop"]) == ([], [])
    assert faults.update(5.0, ["loop", "radiator"]) == (["loop"], [])
    assert faults.update(6.0, ["loop", "radiator"]) == ([], []), "told once; the other began anew"
    assert faults.update(7.0, []) == ([], ["loop"])
    assert faults.update(8.0, ["loop"]) == ([], [])
