"""The budget keeps its promises whatever the satellite, and leaves little on the table."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flight.power.battery import BatteryDesign
from flight.power.budget import Budget, Phase, advance, plan
from flight.power.forecast import (
    ArrayDesign,
    ArrayHealth,
    BaseLoad,
    Light,
    array_watts,
    eclipses_ahead,
    phases,
)
from flight.power.planner import Planner, PlanSettings, battery_design
from skyrack import files
from skyrack.satellite import load_satellite

DESIGN = BatteryDesign(
    capacity_joules=1200 * 3600.0,
    nominal_voltage_volts=100.0,
    internal_resistance_ohms=0.08,
    charge_efficiency_ratio=0.95,
    discharge_efficiency_ratio=0.95,
    maximum_charge_watts=1500.0,
    maximum_discharge_watts=2500.0,
)
ORBIT = 5739.0


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Phase], float, BatteryDesign, float, float]:
    design = BatteryDesign(
        capacity_joules=draw(st.floats(1e5, 1e8)),
        nominal_voltage_volts=100.0,
        internal_resistance_ohms=0.08,
        charge_efficiency_ratio=draw(st.floats(0.8, 1.0)),
        discharge_efficiency_ratio=draw(st.floats(0.8, 1.0)),
        maximum_charge_watts=draw(st.floats(100.0, 5000.0)),
        maximum_discharge_watts=draw(st.floats(500.0, 5000.0)),
    )
    time, found = 0.0, []
    for k in range(draw(st.integers(1, 6))):
        lit = draw(st.floats(0.0, 4000.0)) if k % 2 else 0.0
        end = time + draw(st.floats(1.0, 4000.0))
        found.append(Phase(time, end, lit, draw(st.floats(0.0, 600.0))))
        time = end
    energy = draw(st.floats(0.05, 1.0)) * design.capacity_joules
    floor = draw(st.floats(0.0, 0.95)) * design.capacity_joules
    return found, energy, design, floor, draw(st.floats(0.0, 3000.0))


def energies(
    stretch: list[Phase], energy: float, design: BatteryDesign, levels: list[float], pieces: int = 1
) -> list[float]:
    """Stored energy at each phase's end, in small steps where asked for."""
    found = []
    for phase, watts in zip(stretch, levels, strict=True):
        for _ in range(pieces):
            net = phase.array_watts - phase.base_watts - watts
            energy = advance(design, energy, net, phase.duration_seconds / pieces)
        found.append(energy)
    return found


@settings(max_examples=200, deadline=None)
@given(cases())
def test_following_the_budget_never_breaks_the_floor(
    case: tuple[list[Phase], float, BatteryDesign, float, float],
) -> None:
    stretch, energy, design, floor, maximum = case
    levels = [piece.watts for piece in plan(stretch, energy, design, floor, maximum).slices]
    assert all(0.0 <= watts <= maximum for watts in levels)
    without = energies(stretch, energy, design, [0.0] * len(levels))
    followed = energies(stretch, energy, design, levels, pieces=7)
    for k, stored in enumerate(followed):
        # Where the base load alone goes under the floor, compute makes it no worse.
        assert stored >= min(floor, without[k]) - 1e-5 * design.capacity_joules
    for phase, watts in zip(stretch, levels, strict=True):
        drawn = phase.base_watts + watts - phase.array_watts
        assert watts == 0.0 or drawn <= design.maximum_discharge_watts + 1e-6
    recharged = min(0.98 * design.capacity_joules, energy + 0.8 * max(0.0, without[-1] - energy))
    assert followed[-1] >= min(recharged, without[-1]) - 1e-5 * design.capacity_joules


@settings(max_examples=100, deadline=None)
@given(cases())
def test_no_phase_could_have_had_much_more(case: tuple[list[Phase], float, BatteryDesign, float, float]) -> None:
    stretch, energy, design, floor, maximum = case
    levels = [piece.watts for piece in plan(stretch, energy, design, floor, maximum).slices]
    without = energies(stretch, energy, design, [0.0] * len(levels))
    recharged = min(0.98 * design.capacity_joules, energy + 0.8 * max(0.0, without[-1] - energy))
    least = [min(floor, free) for free in without]
    least[-1] = min(max(floor, recharged), without[-1])
    for k, phase in enumerate(stretch):
        more = levels[k] + 3.0
        if more > maximum or more + phase.base_watts - phase.array_watts > design.maximum_discharge_watts:
            continue
        raised = energies(stretch, energy, design, [*levels[:k], more, *levels[k + 1 :]])
        assert any(a < b - 1e-6 for a, b in zip(raised, least, strict=True)), f"phase {k} could rise"


@given(st.floats(0.0, 1.0), st.floats(-3000.0, 4000.0), st.floats(0.0, 8000.0), st.integers(1, 30))
def test_the_battery_model_is_the_same_in_one_step_or_many(
    charge: float, watts: float, seconds: float, pieces: int
) -> None:
    start = charge * DESIGN.capacity_joules
    stepped = start
    for _ in range(pieces):
        stepped = advance(DESIGN, stepped, watts, seconds / pieces)
    at_once = advance(DESIGN, start, watts, seconds)
    assert at_once == pytest.approx(stepped, rel=1e-9, abs=1e-3)
    assert at_once <= DESIGN.capacity_joules or watts <= 0.0


def test_the_battery_model_loses_each_way() -> None:
    half = 0.5 * DESIGN.capacity_joules
    assert advance(DESIGN, half, 1000.0, 100.0) - half == pytest.approx(95_000.0)
    assert half - advance(DESIGN, half, -950.0, 100.0) == pytest.approx(100_000.0)
    # Rate limit, and the taper towards full.
    assert advance(DESIGN, half, 9000.0, 100.0) - half == pytest.approx(142_500.0)
    full = advance(DESIGN, half, 9000.0, 1e6)
    assert full == pytest.approx(DESIGN.capacity_joules)


def pathfinder_plan(charge: float, now: float = 0.0) -> Budget:
    satellite = load_satellite(files.shipped("satellites", "pathfinder"))
    planner = Planner(satellite, battery_design(satellite))
    eclipses = tuple((196.0 + k * ORBIT, 2333.0 + k * ORBIT) for k in range(2))
    planner.set_light(Light(0.0, 2 * ORBIT, ORBIT, eclipses))
    planner.set_sun(1.0, 1.495978707e11, 0.0)
    return planner.plan(now, charge, 75.0, 1400.0, PlanSettings(0.3, 0.1))


def test_eclipses_matter_to_the_demonstration_satellite() -> None:
    budget = pathfinder_plan(0.95)
    in_sun, in_eclipse = budget.watts_at(4000.0), budget.watts_at(1000.0)
    assert in_sun > 1250.0, "both nodes near their peak"
    assert 60.0 < in_eclipse < 600.0, "one job's worth at most"
    assert budget.watts_at(budget.end_seconds) == 0.0
    assert in_eclipse < budget.mean_watts() < in_sun


@pytest.mark.parametrize("offset", [0.0, 4.0, 11.0])
def test_the_last_minute_of_an_eclipse_has_neither_a_dip_nor_a_flash(offset: float) -> None:
    satellite = load_satellite(files.shipped("satellites", "pathfinder"))
    design, kept = battery_design(satellite), PlanSettings(0.5, 0.2)
    planner = Planner(satellite, design)
    planner.set_light(Light(0.0, 20_000.0, 5580.0, tuple((5580.0 * n, 5580.0 * n + 2100.0) for n in range(4))))
    planner.set_sun(0.0, 1.495978707e11, 10.0)
    base = satellite.bus_watts + satellite.antenna.watts + satellite.thermal.pump_watts
    energy, levels, now = 0.85 * design.capacity_joules, [], offset
    while now < 2100.0:
        level = planner.plan(now, energy / design.capacity_joules, 0.0, 1400.0, kept).watts_at(now)
        levels.append(level)
        energy = advance(design, energy, -(0.95 * level + base), 15.0)
        now += 15.0
    assert levels[-1] > 200.0
    assert max(levels[-20:]) < 1.1 * min(levels[-20:])
    assert energy > (kept.floor_ratio - 0.005) * design.capacity_joules
    # With the charge at the floor there is nothing to hold.
    assert planner.plan(2080.0, kept.floor_ratio, 0.0, 1400.0, kept).watts_at(2080.0) == 0.0


def test_a_low_battery_gets_no_compute_in_eclipse_and_recharges_in_the_sun() -> None:
    budget = pathfinder_plan(0.70, now=300.0)
    assert budget.watts_at(300.0) == pytest.approx(0.0, abs=0.5)
    assert budget.watts_at(3000.0) > 500.0


def test_without_navigation_the_worst_is_assumed() -> None:
    eclipses = eclipses_ahead(None, 1000.0, 20_000.0)
    assert eclipses[0] == (1000.0, 3200.0)
    # A forecast that ended long ago is no forecast.
    light = Light(0.0, 2 * ORBIT, ORBIT, ((100.0, 2200.0),))
    assert eclipses_ahead(light, 20 * ORBIT, 21 * ORBIT)[0][0] == 20 * ORBIT
    satellite = load_satellite(files.shipped("satellites", "pathfinder"))
    planner = Planner(satellite, battery_design(satellite))
    budget = planner.plan(0.0, 0.98, 75.0, 1400.0, PlanSettings(0.3, 0.1))
    assert 0.0 < budget.watts_at(0.0) < 600.0


def test_eclipses_are_carried_on_after_the_forecast_ends() -> None:
    light = Light(0.0, 2 * ORBIT, ORBIT, ((500.0, 2600.0), (500.0 + ORBIT, 2600.0 + ORBIT)))
    ahead = eclipses_ahead(light, 3000.0, 4 * ORBIT)
    assert [round(start) for start, _ in ahead] == [round(500 + k * ORBIT) for k in (1, 2, 3)]
    assert all(end - start == pytest.approx(2100.0) for start, end in ahead)


def test_an_eclipse_that_the_horizon_cuts_is_taken_at_full_length() -> None:
    end = 2 * ORBIT
    light = Light(0.0, end, ORBIT, ((end - 100.0 - ORBIT, end + 2000.0 - ORBIT), (end - 100.0, end)))
    assert eclipses_ahead(light, 0.0, end)[-1] == pytest.approx((end - 100.0, end + 2000.0))


def test_phases_follow_each_other_and_end_when_an_eclipse_begins() -> None:
    found = phases([(500.0, 2600.0), (6239.0, 8339.0), (11978.0, 14078.0)], 1000.0, ORBIT, 3000.0, 250.0)
    assert [(p.start_seconds, p.array_watts) for p in found] == [
        (1000.0, 0.0), (2600.0, 3000.0), (6239.0, 0.0), (8339.0, 3000.0),
    ]  # fmt: skip
    assert found[-1].end_seconds == 11978.0
    always_lit = phases([], 1000.0, ORBIT, 3000.0, 250.0)
    assert [(p.start_seconds, p.end_seconds) for p in always_lit] == [(1000.0, 1000.0 + 2 * ORBIT)]


def test_array_power_falls_with_distance_and_a_fixed_array_needs_beta() -> None:
    tracking = ArrayDesign(10.0, 0.3, 0.0, 1.0, tracking=True)
    assert array_watts(tracking, 1.0, 1.495978707e11, 0.0) == pytest.approx(4083.0)
    assert array_watts(tracking, 1.0, 1.52 * 1.495978707e11, 0.0) == pytest.approx(4083.0 / 1.52**2)
    fixed = ArrayDesign(10.0, 0.3, 0.0, 1.0, tracking=False)
    assert array_watts(fixed, 1.0, 1.495978707e11, -30.0) == pytest.approx(4083.0 / 2)


def test_base_load_rises_fast_and_falls_slowly() -> None:
    load = BaseLoad()
    for _ in range(30):
        load.update(400.0)
    assert load.watts(250.0) > 395.0
    for _ in range(60):
        load.update(250.0)
    assert load.watts(250.0) > 350.0
    assert load.watts(500.0) == 500.0


def test_array_health_learns_only_where_the_array_is_the_limit() -> None:
    health = ArrayHealth()
    for _ in range(500):
        health.update(1000.0, 3000.0, is_the_limit=False)
    assert health.ratio == 1.0
    for _ in range(500):
        health.update(1500.0, 3000.0, is_the_limit=True)
    assert health.ratio == pytest.approx(0.5, abs=0.01)
