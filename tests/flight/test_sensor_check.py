"""Doubts about sensors: what begins them, what ends them, and what does not."""

from __future__ import annotations

import random

from flight.sensor_check import Doubt, SensorCheck, Tolerance, told

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
