import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.plant import array, battery
from hil.plant.constants import ASTRONOMICAL_UNIT_METERS

ONE = np.ones(1)


@pytest.mark.parametrize(("degrees", "watts"), [(0.0, 1361.0), (60.0, 680.5), (90.0, 0.0)])
def test_cosine_panel(degrees: float, watts: float) -> None:
    light = array.light(np.array([1361.0]), ONE, np.cos(np.radians([degrees])), ONE)
    power = array.power(light, np.array([array.RATED_KELVIN]), np.array([-0.0025]))
    assert power[0] == pytest.approx(watts, abs=1e-9)


def test_a_panel_that_looks_away_gives_nothing() -> None:
    assert array.light(np.array([1361.0]), ONE, -ONE, ONE)[0] == 0.0


def test_sunlight_falls_with_the_square_of_the_distance() -> None:
    assert array.sunlight(np.array([1.52 * ASTRONOMICAL_UNIT_METERS]))[0] == pytest.approx(1361.0 / 1.52**2)


def test_a_hot_panel_gives_less() -> None:
    power = array.power(np.array([1000.0]), np.array([array.RATED_KELVIN + 40.0]), np.array([-0.0025]))
    assert power[0] == pytest.approx(900.0)


def make(energy_ratio: float = 0.5) -> battery.Batteries:
    capacity = 1200.0 * 3600.0
    design = battery.BatteryDesign(
        capacity_joules=np.array([capacity]),
        floor_joules=np.array([0.05 * capacity]),
        charge_efficiency=np.array([0.95]),
        discharge_efficiency=np.array([0.95]),
        maximum_charge_watts=np.array([1500.0]),
        maximum_discharge_watts=np.array([2500.0]),
        nominal_volts=np.array([100.0]),
        resistance_ohms=np.array([0.08]),
    )
    return battery.Batteries(design, np.array([energy_ratio * capacity]))


@pytest.mark.parametrize(
    ("offer", "taken", "stored"),
    [(1000.0, 1000.0, 950.0), (2000.0, 1500.0, 1425.0), (-950.0, -950.0, -1000.0), (-9000.0, -2500.0, -2500.0 / 0.95)],
)
def test_efficiencies_and_limits(offer: float, taken: float, stored: float) -> None:
    cells = make()
    before = cells.energy_joules[0]
    power, loss = cells.step(np.array([offer]), 1.0)
    assert power[0] == pytest.approx(taken)
    assert cells.energy_joules[0] - before == pytest.approx(stored)
    assert loss[0] == pytest.approx(taken - stored)


def test_charge_tapers_and_never_passes_full() -> None:
    cells = make(0.89)
    powers = [cells.step(np.array([5000.0]), 60.0)[0][0] for _ in range(200)]
    assert powers[0] == 1500.0
    assert all(later <= earlier for earlier, later in itertools.pairwise(powers))
    assert 0.999 < cells.state_of_charge()[0] <= 1.0


def test_discharge_ends_at_the_floor() -> None:
    cells = make(0.06)
    for _ in range(100):
        cells.step(np.array([-2000.0]), 10.0)
    assert cells.state_of_charge()[0] == pytest.approx(0.05, abs=1e-12)
    assert cells.step(np.array([-2000.0]), 10.0)[0][0] == pytest.approx(0.0, abs=1e-6)


def test_cycles_count_energy_taken_out() -> None:
    cells = make(0.9)
    for _ in range(3600):
        cells.step(np.array([-1200.0 * 0.25 * 0.95]), 1.0)
    assert cells.cycles()[0] == pytest.approx(0.25)


@given(st.lists(st.floats(-4000.0, 4000.0), max_size=50), st.floats(0.1, 600.0))
def test_energy_stays_between_floor_and_full_and_losses_are_losses(offers: list[float], step: float) -> None:
    cells = make()
    for offer in offers:
        power, loss = cells.step(np.array([offer]), step)
        assert loss[0] >= -1e-9
        assert abs(power[0]) <= abs(offer) + 1e-9
        assert 0.05 - 1e-12 <= cells.state_of_charge()[0] <= 1.0 + 1e-12


def test_terminal_voltage_rises_in_charge_and_sags_in_discharge() -> None:
    open_circuit = battery.open_circuit_volts(0.5, 100.0)
    assert battery.terminal_volts(open_circuit, 0.0, 0.08) == pytest.approx(open_circuit)
    sagged = battery.terminal_volts(open_circuit, -1000.0, 0.08)
    assert sagged == pytest.approx(open_circuit - 0.08 * 1000.0 / sagged)
    assert battery.terminal_volts(open_circuit, 1000.0, 0.08) > open_circuit
