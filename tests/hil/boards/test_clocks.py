"""The offset of a board's clock, and what is done about it."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from hil.boards.clocks import Agreement, OffsetEstimator, RoundTrip, anchor_on_board, needs_steering
from skyrack import virtual
from skyrack.clock import Anchor, write_anchor
from skyrack.discipline import DisciplinedClock

AHEAD = 1234.5


def ask(now: float, ahead: float, there: float, back: float) -> RoundTrip:
    return RoundTrip(now, now + there + ahead, now + there + back)


def at(estimator: OffsetEstimator, now: float) -> Agreement:
    known = estimator.agreement(now)
    assert known is not None
    return known


def test_the_truth_is_always_within_the_bound() -> None:
    rng = random.Random(3)
    drift = 60e-6
    estimator = OffsetEstimator()
    for second in range(600):
        # Ways that differ, now and then by a lot: a busy radio.
        there, back = rng.expovariate(500.0) + 1e-4, rng.expovariate(50.0) + 1e-4
        estimator.add(ask(second, AHEAD + drift * second, there, back), "boot")
        known = at(estimator, second + 1.0)
        assert abs(known.offset_seconds - (AHEAD + drift * (second + 1.0))) <= known.error_seconds
    known = at(estimator, 600.0)
    assert known.error_seconds < 0.01
    assert known.drift is not None
    assert known.drift_error is not None
    assert abs(known.drift - drift) <= known.drift_error < 3e-5


def test_the_quickest_round_trip_counts_until_it_is_too_old() -> None:
    estimator = OffsetEstimator()
    estimator.add(ask(0.0, AHEAD, 1e-4, 1e-4))
    estimator.add(ask(1.0, AHEAD + 0.001, 0.01, 0.002))
    known = at(estimator, 1.5)
    assert known.offset_seconds == pytest.approx(AHEAD)
    # After 100 s at 100 ppm the quick one may be wrong by 10 ms, the slow one of now by 6.
    estimator.add(ask(100.0, AHEAD + 0.002, 0.01, 0.002))
    known = at(estimator, 100.1)
    assert known.offset_seconds == pytest.approx(AHEAD + 0.002 + 0.004)
    assert known.error_seconds == pytest.approx(0.006, rel=0.01)


def test_a_board_that_was_booted_has_another_clock() -> None:
    estimator = OffsetEstimator()
    estimator.add(ask(0.0, AHEAD, 1e-4, 1e-4), "one")
    estimator.add(ask(9.0, 3.0, 5e-3, 1e-3), "two")
    known = at(estimator, 9.1)
    assert known.offset_seconds == pytest.approx(3.002)
    assert known.drift is None


def test_a_round_trip_into_the_past_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be"):
        OffsetEstimator().add(RoundTrip(2.0, 0.0, 1.0))
    assert OffsetEstimator().agreement(0.0) is None


def test_an_anchor_is_converted_and_left_alone_while_it_is_right() -> None:
    anchor = anchor_on_board(Anchor(1e9, 2e9, 60.0, 500.0, "here"), AHEAD, "there")
    assert (anchor.monotonic_seconds, anchor.boot_id, anchor.rate) == (500.0 + AHEAD, "there", 60.0)
    with pytest.raises(ValueError, match="monotonic"):
        anchor_on_board(Anchor(1e9, 2e9), AHEAD, "there")
    estimator = OffsetEstimator()
    estimator.add(ask(0.0, AHEAD, 1e-3, 1e-3))
    known = at(estimator, 0.002)
    assert not needs_steering(AHEAD + 0.0009, known)
    assert needs_steering(AHEAD + 0.0012, known)


@pytest.mark.parametrize("error", [0.04, -0.4, 15.0, -15.0])
def test_a_clock_goes_over_to_another_anchor_without_a_step(error: float) -> None:
    async def main() -> None:
        clock = DisciplinedClock(Anchor(1000.0, 0.0, 10.0), since_anchor_seconds=0.0)
        # The host's clock goes on between making the anchor and taking it, while virtual time stands still.
        removed = clock.steer(Anchor.here(1000.0 + error, 10.0))
        assert removed >= error
        assert clock.now() == 1000.0
        last = clock.now()
        for _ in range(1000):
            await asyncio.sleep(0.1)
            assert 0.98 * 1.0 <= clock.now() - last + 1e-6 <= 1.02 * 1.0 + 2e-6
            last = clock.now()
        assert last == pytest.approx(1000.0 + removed + 1000.0, abs=1e-6)

    virtual.run(main)


def test_sleepers_never_wake_early_while_a_clock_is_slowed_down() -> None:
    async def main() -> None:
        clock = DisciplinedClock(Anchor(0.0, 0.0, 10.0), since_anchor_seconds=0.0)
        late: list[float] = []

        async def sleeper(until: float) -> None:
            await clock.sleep_until(until)
            late.append(clock.now() - until)

        sleepers = [asyncio.create_task(sleeper(float(until))) for until in range(1, 200, 3)]
        await asyncio.sleep(0.05)
        clock.steer(Anchor.here(clock.now() - 0.5, 10.0))
        await asyncio.gather(*sleepers)
        assert len(late) == len(sleepers)
        assert all(0.0 <= seconds < 1e-3 for seconds in late), late

    virtual.run(main)


def test_a_clock_follows_its_file(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "clock.json"
        anchor = Anchor.here(5000.0, 2.0)
        write_anchor(path, anchor)
        clock = DisciplinedClock.from_file(path)
        following = asyncio.create_task(clock.follow(path, look_seconds=0.01))
        await asyncio.sleep(0.02)
        assert anchor.monotonic_seconds is not None
        better = Anchor(5000.0, anchor.host_time_seconds, 2.0, anchor.monotonic_seconds - 0.001, anchor.boot_id)
        path.write_text("{")
        await asyncio.sleep(0.03)
        write_anchor(path, better)
        async with asyncio.timeout(5.0):
            while clock.anchor != better:  # noqa: ASYNC110 - a file is followed
                await asyncio.sleep(0.01)
        write_anchor(path, Anchor.here(5000.0, 3.0))
        await asyncio.sleep(0.03)
        assert clock.anchor == better
        with pytest.raises(ValueError, match="rate"):
            clock.steer(Anchor(0.0, 0.0, 3.0))
        following.cancel()

    asyncio.run(main())
