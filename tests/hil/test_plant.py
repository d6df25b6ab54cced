from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hil.plant.link import PlantKeyError
from hil.plant.plant import Plant

MakePlant = Callable[..., Plant]

ACTUATIONS = st.one_of(
    st.tuples(st.sampled_from(["node.node-1.draw_watts", "node.node-2.draw_watts"]), st.floats(0.0, 900.0)),
    st.tuples(
        st.sampled_from(["load.node-1.switch", "load.laser-1.switch", "heater.battery-heater.switch"]),
        st.sampled_from([0.0, 1.0]),
    ),
    st.tuples(st.just("pump.duty_ratio"), st.floats(0.0, 1.0)),
    st.tuples(st.just("fault.load.node-2.short_watts"), st.floats(0.0, 3000.0)),
    st.tuples(st.just("fault.radiator.lost_ratio"), st.floats(0.0, 1.0)),
    st.tuples(st.just("fault.pump.stopped"), st.sampled_from([0.0, 1.0])),
)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(ACTUATIONS, st.integers(1, 120), st.sampled_from([0.5, 1.0, 10.0])), min_size=1, max_size=12),
    st.floats(0.06, 1.0),
)
def test_energy_is_conserved_over_any_run(
    make_plant: MakePlant, history: list[tuple[tuple[str, float], int, float]], charge: float
) -> None:
    plant = make_plant(battery={"initial_state_of_charge_ratio": charge})
    for (key, value), steps, length in history:
        plant.actuate("sat-1", key, value)
        for _ in range(steps):
            plant.step(length)
    scale = plant.absorbed_joules.max() + plant.stored_joules().max()
    assert np.abs(plant.energy_error_joules()).max() < 1e-12 * scale


def test_an_eclipse_comes_in_the_first_orbit(make_plant: MakePlant) -> None:
    plant = make_plant()
    lit = []
    for _ in range(5800):
        plant.step()
        lit.append(plant.read("sat-1", "orbit.sunlit_ratio"))
    dark = np.array(lit) == 0.0
    assert 25 * 60 < dark.sum() < 36 * 60
    assert 5 < ((np.array(lit) > 0.0) & (np.array(lit) < 1.0)).sum() < 60


def test_the_battery_carries_the_dark(make_plant: MakePlant) -> None:
    plant = make_plant()
    while plant.read("sat-1", "orbit.sunlit_ratio") > 0.0:
        plant.step()
    plant.step()
    load = plant.load_watts[0]
    assert plant.read("sat-1", "array.watts") == 0.0
    volts, amperes = plant.read("sat-1", "battery.voltage_volts"), plant.read("sat-1", "battery.current_amperes")
    assert volts * amperes == pytest.approx(-load)


def test_a_flat_battery_browns_out_and_switches_stay_open_until_closed(make_plant: MakePlant) -> None:
    plant = make_plant(battery={"initial_state_of_charge_ratio": 0.1})
    while plant.read("sat-1", "orbit.sunlit_ratio") > 0.0 or plant.read("sat-1", "bus.undervoltage") == 0.0:
        plant.actuate("sat-1", "node.node-1.draw_watts", 700.0)
        plant.actuate("sat-1", "node.node-2.draw_watts", 700.0)
        plant.step()
    assert plant.read("sat-1", "bus.brownouts_total") == 1.0
    assert plant.read("sat-1", "load.node-1.closed") == 0.0
    assert plant.read("sat-1", "load.node-1.watts") == 0.0
    assert plant.read("sat-1", "load.gateway-radio.closed") == 1.0
    plant.actuate("sat-1", "load.node-1.switch", 1.0)
    assert plant.read("sat-1", "load.node-1.closed") == 0.0
    while plant.read("sat-1", "bus.undervoltage"):
        plant.step()
    assert plant.read("sat-1", "load.node-1.closed") == 0.0
    plant.actuate("sat-1", "load.node-1.switch", 1.0)
    plant.step()
    # Power is back, work is not: a node that starts anew idles.
    assert plant.read("sat-1", "load.node-1.watts") == 60.0


def test_an_open_switch_cuts_what_a_node_draws(make_plant: MakePlant) -> None:
    plant = make_plant()
    plant.actuate("sat-1", "node.node-1.draw_watts", 650.0)
    plant.step()
    with_node = plant.load_watts[0]
    plant.actuate("sat-1", "load.node-1.switch", 0.0)
    plant.step()
    assert with_node - plant.load_watts[0] == pytest.approx(650.0)


def test_a_stopped_pump_leaves_the_chip_hot(make_plant: MakePlant) -> None:
    cooled, stopped = make_plant(), make_plant()
    stopped.actuate("sat-1", "fault.pump.stopped", 1.0)
    for plant in (cooled, stopped):
        plant.actuate("sat-1", "node.node-1.draw_watts", 700.0)
        for _ in range(900):
            plant.step()
    assert stopped.read("sat-1", "pump.duty_ratio") == 0.0
    difference = stopped.read("sat-1", "thermal.node-1.celsius") - cooled.read("sat-1", "thermal.node-1.celsius")
    assert difference > 20.0
    assert stopped.read("sat-2", "thermal.node-1.celsius") == cooled.read("sat-2", "thermal.node-1.celsius")


def test_the_same_seed_gives_the_same_world_and_step_lengths_agree(make_plant: MakePlant) -> None:
    first, second, coarse = make_plant(7), make_plant(7), make_plant(7)
    for _ in range(600):
        first.step()
        second.step()
    for _ in range(60):
        coarse.step(10.0)
    assert first.sensors("sat-2") == second.sensors("sat-2")
    assert coarse.time == first.time
    for key, value in first.sensors("sat-1").items():
        assert coarse.read("sat-1", key) == pytest.approx(value, rel=0.01, abs=0.5), key


def test_antenna_contacts_come_and_go(make_plant: MakePlant) -> None:
    plant = make_plant()
    seen = set()
    for _ in range(1200):
        plant.step(10.0)
        link = plant.link("sat-1", "antenna")
        seen.add(link.via)
        if link.up:
            assert 550e3 / 3e8 < link.delay_seconds < 2600e3 / 3e8
            assert link.rate_bits_per_second == 256e3
    assert "" in seen
    assert len(seen) > 1
    plant.actuate("sat-1", "fault.link.antenna.outage", 1.0)
    assert not plant.link("sat-1", "antenna").up


def test_unknown_names_are_answered_with_what_there_is(make_plant: MakePlant) -> None:
    plant = make_plant()
    with pytest.raises(PlantKeyError, match="sat-1, sat-2"):
        plant.read("sat-9", "array.watts")
    with pytest.raises(PlantKeyError, match=r"no sensor \"array.volts\"; it has .*array.watts"):
        plant.read("sat-1", "array.volts")
    with pytest.raises(PlantKeyError, match=r"pump.duty_ratio"):
        plant.actuate("sat-1", "pump.duty", 1.0)
