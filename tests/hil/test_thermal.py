import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from hil.plant.constants import STEFAN_BOLTZMANN
from hil.plant.frames import Array
from hil.plant.thermal import ThermalNetwork

# Chip, cold plate, loop, radiator: 300 W into the chip.
CAPACITY = np.array([[900.0, 4000.0, 9000.0, 12_000.0]])
CONDUCTANCE = np.zeros((1, 4, 4))
for _node, _value in enumerate((40.0, 120.0, 150.0)):
    CONDUCTANCE[0, _node, _node + 1] = CONDUCTANCE[0, _node + 1, _node] = _value
RADIANCE = np.array([[0.0, 0.0, 0.0, 0.9 * STEFAN_BOLTZMANN * 4.0]])
HEAT = np.array([[300.0, 0.0, 0.0, 0.0]])
START = np.full((1, 4), 293.15)


def network() -> ThermalNetwork:
    return ThermalNetwork(CAPACITY.copy(), CONDUCTANCE.copy(), RADIANCE.copy(), START)


def exact(seconds: float) -> Array:
    def slope(_: float, t: Array) -> Array:
        flow = (CONDUCTANCE[0] * (t[np.newaxis] - t[:, np.newaxis])).sum(axis=1)
        rate: Array = (HEAT[0] + flow - RADIANCE[0] * t**4) / CAPACITY[0]
        return rate

    solution: Array = solve_ivp(slope, (0.0, seconds), START[0], method="DOP853", rtol=1e-10, atol=1e-8).y[:, -1]
    return solution


@pytest.mark.parametrize(("step", "tolerance"), [(1.0, 0.02), (10.0, 0.2), (60.0, 1.5)])
def test_agrees_with_a_fine_explicit_solution(step: float, tolerance: float) -> None:
    net = network()
    for _ in range(int(3600.0 / step)):
        net.step(HEAT, step)
    np.testing.assert_allclose(net.temperature[0], exact(3600.0), atol=tolerance)


@pytest.mark.parametrize("step", [1.0, 60.0, 3600.0, 1e6])
def test_settles_at_the_radiators_steady_state_at_any_step(step: float) -> None:
    net = network()
    for _ in range(int(max(60.0, 200_000.0 / step))):
        net.step(HEAT, step)
    radiator = (300.0 / RADIANCE[0, 3]) ** 0.25
    assert net.temperature[0, 3] == pytest.approx(radiator, abs=1e-6)
    assert net.temperature[0, 0] == pytest.approx(radiator + 300.0 * (1 / 40 + 1 / 120 + 1 / 150), abs=1e-6)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.floats(0.0, 5000.0), st.floats(0.02, 1.0)), min_size=1, max_size=60),
    st.sampled_from([0.5, 1.0, 10.0, 300.0]),
)
def test_energy_in_is_energy_out_and_stored(history: list[tuple[float, float]], step: float) -> None:
    net = network()
    before = net.stored_joules()[0]
    put_in = radiated = 0.0
    for watts, flow in history:
        net.set_conductance(0, CONDUCTANCE[0] * flow)
        radiated += net.step(HEAT * (watts / 300.0), step).sum() * step
        put_in += watts * step
    assert net.stored_joules()[0] - before == pytest.approx(put_in - radiated, abs=1e-9 * (before + put_in))


def test_satellites_do_not_touch_each_other() -> None:
    both = ThermalNetwork(
        np.repeat(CAPACITY, 2, axis=0),
        np.repeat(CONDUCTANCE, 2, axis=0),
        np.repeat(RADIANCE, 2, axis=0),
        np.repeat(START, 2, axis=0),
    )
    alone = network()
    for _ in range(600):
        both.step(np.concatenate([HEAT, HEAT * 0.0]), 1.0)
        alone.step(HEAT, 1.0)
    np.testing.assert_allclose(both.temperature[0], alone.temperature[0], rtol=1e-12)
    assert both.temperature[1, 0] < alone.temperature[0, 0] - 10.0
