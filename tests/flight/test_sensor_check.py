"""Doubts about sensors: what begins them, what ends them, and what does not."""

from __future__ import annotations

import random

from flight.power.checks import PowerChecks
from flight.power.meters import Readings
from flight.sensor_check import Doubt, SensorCheck, Tolerance, told
from flight.thermal.checks import ThermalChecks
from flight.thermal.network import NodeEstimate
from skyrack import files
from skyrack.satellite import load_constellation

TOLERANCE = Tolerance(scatter=1.0, residual=2.0, moved=5.0, repeats=60)


def usual(check: SensorCheck, seconds: int, start: int = 0, *, offset: float = 0.0, sigma: float = 0.2) -> list[Doubt]:
    rng = random.Random(start)
    found: list[Doubt] = []
    for now in range(start, start + seconds):
        changes = check.look(float(now), 20.0 + offset + rng.gauss(0.0, sigma), 20.0)
        found.extend(change.doubt for change in changes)
    return found


def test_what_is_usual_is_believed_through_a_single_outlier() -> None:
    check = SensorCheck("thermal.node-1", TOLERANCE)
    assert usual(check, 500) == []
    assert check.look(500.0, 80.0, 20.0) == []
    assert usual(check, 500, 501) == []


def test_noise_bias_and_silence_are_told_once_and_end() -> None:
    check = SensorCheck("x", TOLERANCE, patience_seconds=10.0)
    usual(check, 300)
    assert usual(check, 100, 300, sigma=3.0)[0] is Doubt.NOISY
    assert usual(check, 600, 400).count(Doubt.NOISY) == 1
    assert usual(check, 200, 1000, offset=8.0) == [Doubt.OFF]
    assert Doubt.OFF in check.doubts
    assert usual(check, 600, 1200) == [Doubt.OFF]
    changes = [change for now in range(1800, 1830) for change in check.look(float(now), None, 20.0)]
    assert [(change.doubt, change.over) for change in changes] == [(Doubt.SILENT, False)]
    (over,) = check.look(1830.0, 20.1, 20.0)
    assert told(over, "K") == ("sensor_trusted", "x is no longer silent")


def test_what_stands_still_is_stuck_when_it_should_move_or_never_stood_so_long() -> None:
    moves = SensorCheck("x", TOLERANCE)
    changes = [change for now in range(40) for change in moves.look(float(now), 20.0, 20.0 + 0.2 * now)]
    assert [change.doubt for change in changes] == [Doubt.STUCK]
    repeats = SensorCheck("y", TOLERANCE)
    usual(repeats, 300)
    changes = [change for now in range(300, 400) for change in repeats.look(float(now), 20.125, 20.0)]
    assert [change.doubt for change in changes] == [Doubt.STUCK]
    # A coarse sensor that always stood still for long is no worse for it.
    coarse = SensorCheck("z", TOLERANCE)
    steps = [change for now in range(2000) for change in coarse.look(float(now), 20.0 + 0.5 * (now // 50 % 2), 20.2)]
    assert steps == []


def test_a_battery_monitor_that_repeats_itself_is_stuck_though_nothing_changes() -> None:
    checks = PowerChecks(3500.0, 100.0, (), patience_seconds=10.0)
    rng = random.Random(0)
    for now in range(300):
        assert checks.look(float(now), Readings(array_watts=100.0 + rng.gauss(0, 2.0)), rng.gauss(0.0, 1.0)) == []
    told_of = [checks.look(float(now), Readings(array_watts=100.0 + rng.gauss(0, 2.0)), 0.5) for now in range(300, 400)]
    assert [(name, sensor) for events in told_of for name, _, sensor in events] == [("sensor_stuck", "battery")]


def test_a_doubt_about_the_radiators_thermometer_ends_by_the_name_that_it_began_with() -> None:
    _, designs = load_constellation(files.shipped("constellations", "demo"))
    node = NodeEstimate(20.0)
    checks = ThermalChecks(designs["sat-1"].thermal, {"radiator": node})

    def look(start: int, kelvin: float) -> list[str]:
        names = []
        for now in range(start, start + 400):
            node.innovation_kelvin = kelvin
            names += [name for name, _, _ in checks.look(float(now), 1.0, {"radiator": 20.0 + now % 7}, True)]
        return names

    assert look(0, 0.0) == []
    assert look(400, -1.0) == ["sensor_off"]
    assert look(800, 0.0) == ["sensor_trusted"]
    assert look(1200, 1.0) == ["radiator_weak"]
    assert look(1600, 0.0) == ["radiator_recovered"]
