"""The law that holds a board under its power cap: quick, and quiet afterwards."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import pytest

from hil.devices.power_cap import LEAST_DUTY_RATIO, Knobs, PowerCap, Settling

IDLE, PEAK = 270.0, 700.0
PERIOD = 0.2
SETTLE_SECONDS = 2.0

Draw = Callable[[float], float]


def no_throttle(_ratio: float) -> float:
    return 1.0


def frequency(ratio: float) -> float:
    """Twelve steps from 0.6 to 1.5 GHz, draw as the cube of the frequency."""
    return float((0.4 + 0.6 * round(ratio * 11) / 11) ** 3)


def coarse(ratio: float) -> float:
    """Four power modes that lie far apart."""
    return (0.3, 0.5, 0.8, 1.0)[round(ratio * 3)]


class Board:
    """A board whose meter is late and noisy."""

    def __init__(self, draw: Draw, late_seconds: float, noise: float, idle: float = IDLE) -> None:
        self.draw, self.idle = draw, idle
        self.rng = random.Random(7)
        self.noise = noise
        self.past = [idle] * (1 + round(late_seconds / PERIOD))
        self.load = 1.0
        self.control = PowerCap(IDLE, PEAK, throttled=draw is not no_throttle)

    def truth(self) -> float:
        knobs = self.control.knobs
        return self.idle + self.load * (PEAK - IDLE) * self.draw(knobs.throttle_ratio) * knobs.duty_ratio

    def measure(self) -> float:
        self.past = [*self.past[1:], self.truth()]
        return self.past[0] * (1.0 + self.rng.gauss(0.0, self.noise))

    def fly(self, seconds: float, begin: float) -> list[tuple[float, float, Knobs]]:
        """Time since ``begin``, true draw and knobs, of each period."""
        found = []
        for count in range(round(seconds / PERIOD)):
            now = begin + count * PERIOD
            self.control.step(self.measure(), now)
            found.append((now - begin, self.truth(), self.control.knobs))
        return found


@pytest.mark.parametrize("late", [0.0, 0.3])
@pytest.mark.parametrize("noise", [0.0, 0.004])
@pytest.mark.parametrize("draw", [no_throttle, frequency, coarse])
def test_a_cap_holds_within_two_seconds_and_then_nothing_swings(draw: Draw, noise: float, late: float) -> None:
    board = Board(draw, late, noise)
    board.fly(5.0, 0.0)
    assert board.control.knobs == Knobs()
    begin = 5.0
    for cap in (520.0, 350.0, 450.0, 300.0, 650.0, 400.0):
        board.control.set_cap(cap, board.measure(), begin)
        flown = board.fly(40.0, begin)
        begin += 40.0
        over = [at for at, watts, _ in flown if watts > cap + 0.02 * (PEAK - IDLE)]
        assert not over or over[-1] < SETTLE_SECONDS, (cap, over)
        # Quiet: in its last twenty seconds the knobs are touched a few times at most, and draw is what the cap allows.
        late_knobs = [knobs for at, _, knobs in flown if at > 20.0]
        changes = sum(a != b for a, b in pairwise(late_knobs))
        assert changes <= 5, (cap, late_knobs)
        assert flown[-1][1] > min(cap, PEAK) - 0.08 * (PEAK - IDLE), (cap, flown[-1])


def test_the_throttle_does_what_it_can_before_work_is_paused() -> None:
    board = Board(frequency, 0.2, 0.0)
    board.control.set_cap(400.0, 700.0, 0.0)
    board.fly(20.0, 0.0)
    assert board.control.knobs.throttle_ratio < 1.0
    assert board.control.knobs.duty_ratio >= 0.45


def test_work_comes_back_to_full_speed_when_the_cap_is_lifted() -> None:
    board = Board(frequency, 0.2, 0.004)
    board.control.set_cap(320.0, 700.0, 0.0)
    board.fly(20.0, 0.0)
    board.control.set_cap(PEAK, board.measure(), 20.0)
    flown = board.fly(15.0, 20.0)
    assert next(at for at, watts, _ in flown if watts > 0.9 * PEAK) < 10.0


def test_a_cap_below_what_the_board_draws_idle_slows_work_as_far_as_it_goes() -> None:
    board = Board(no_throttle, 0.0, 0.0, idle=400.0)
    board.control.set_cap(300.0, 700.0, 0.0)
    board.fly(10.0, 0.0)
    assert board.control.knobs.duty_ratio == LEAST_DUTY_RATIO


def test_work_begins_at_what_should_fit_and_idle_is_learnt() -> None:
    board = Board(no_throttle, 0.2, 0.0, idle=330.0)
    board.load = 0.0
    for _ in range(40):
        board.control.idle(board.measure())
    assert board.control.idle_watts == pytest.approx(330.0, abs=1.0)
    board.control.set_cap(400.0, 330.0, 0.0)
    board.load = 1.0
    board.control.begin(1.0, 0.0)
    flown = board.fly(10.0, 0.0)
    assert max(watts for _, watts, _ in flown) < 410.0
    assert flown[-1][1] > 375.0


def test_lighter_work_runs_freely_where_heavier_work_was_slowed_down() -> None:
    board = Board(no_throttle, 0.2, 0.0)
    board.control.set_cap(450.0, 700.0, 0.0)
    board.fly(10.0, 0.0)
    assert board.control.knobs.duty_ratio < 0.5
    board.load = 0.3
    board.fly(15.0, 10.0)
    assert board.control.knobs == Knobs()


def test_a_throttle_that_may_not_be_set_leaves_it_to_pauses() -> None:
    board = Board(frequency, 0.0, 0.0)
    board.control.set_cap(400.0, 700.0, 0.0)
    board.fly(10.0, 0.0)
    board.draw = no_throttle
    board.control.without_throttle()
    flown = board.fly(10.0, 10.0)
    assert board.control.knobs.throttle_ratio == 1.0
    assert flown[-1][1] < 405.0


def test_settling_is_measured_from_the_first_cap_that_was_too_low() -> None:
    settling = Settling(tolerance_watts=5.0, settled=[])
    settling.cap_changed(500.0, 490.0, 0.0)
    settling.look(500.0, 490.0, 0.2)
    assert settling.settled == []
    settling.cap_changed(400.0, 490.0, 1.0)
    settling.look(400.0, 450.0, 1.2)
    settling.cap_changed(380.0, 450.0, 1.4)
    assert settling.pending_seconds(1.5) == pytest.approx(0.5)
    settling.look(380.0, 384.0, 1.8)
    assert settling.pending_seconds(9.0) == 0.0
    assert settling.settled == [pytest.approx(0.8)]
