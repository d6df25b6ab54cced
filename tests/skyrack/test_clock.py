from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyrack import clock as clock_module
from skyrack import virtual
from skyrack.clock import Anchor, MissionClock, read_anchor, write_anchor
from skyrack.errors import UserError

EPOCH = 1_781_000_000.0
mission_times = st.floats(-1e11, 1e11)
rates = st.floats(1e-3, 1e4)


class FakeLoop(asyncio.AbstractEventLoop):
    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def time(self) -> float:
        return self.now


@given(mission_times, rates, st.floats(0, 1e7), st.lists(st.floats(0, 1e5), max_size=30))
def test_time_never_runs_backwards(mission: float, rate: float, start: float, steps: list[float]) -> None:
    loop = FakeLoop(start)  # type: ignore[abstract]
    clock = MissionClock.starting_at(mission, rate, loop)
    seen = [clock.now()]
    for step in steps:
        loop.now += step
        seen.append(clock.now())
    assert seen == sorted(seen)
    assert seen[0] == mission


@given(mission_times, rates, st.floats(0, 1e6), st.floats(0, 1e8))
def test_loop_time_of_reaches_the_time_and_hardly_more(mission: float, rate: float, start: float, ahead: float) -> None:
    loop = FakeLoop(start)  # type: ignore[abstract]
    clock = MissionClock.starting_at(mission, rate, loop)
    target = mission + ahead
    loop.now = clock.loop_time_of(target)
    assert clock.now() >= target
    assert clock.now() - target <= 1e-4 + 1e-9 * (ahead + start * rate)


@given(mission_times, rates)
def test_a_clock_that_joins_later_agrees(mission: float, rate: float) -> None:
    anchor = Anchor(mission, 1000.0, rate)
    loop = FakeLoop()  # type: ignore[abstract]
    first = MissionClock(anchor, loop, since_anchor_seconds=5.0)
    loop.now = 20.0
    second = MissionClock(anchor, loop, since_anchor_seconds=25.0)
    assert first.now() == pytest.approx(second.now(), abs=1e-3)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_that_is_no_rate_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="rate of a clock anchor"):
        Anchor(0.0, 0.0, rate)


def test_anchor_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    anchor = Anchor.here(EPOCH, 60.0)
    write_anchor(path, anchor)
    assert read_anchor(path) == anchor
    assert [file.name for file in tmp_path.iterdir()] == ["clock.json"]


def test_a_restarted_process_rejoins_the_time_line(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    write_anchor(path, Anchor.here(EPOCH, 60.0))
    first, second = MissionClock.from_file(path), MissionClock.from_file(path)
    before = first.now()
    assert before <= second.now() <= before + 60.0


def test_a_step_of_the_time_of_day_moves_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    anchor = Anchor.here(EPOCH)
    monkeypatch.setattr(time, "time", lambda: anchor.host_time_seconds - 86400.0)
    assert MissionClock(anchor).now() >= EPOCH


def test_after_a_reboot_the_time_of_day_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    anchor = Anchor.here(EPOCH)
    monkeypatch.setattr(clock_module, "_boot_id", lambda: "another boot")
    monkeypatch.setattr(time, "time", lambda: anchor.host_time_seconds + 500.0)
    assert MissionClock(anchor).now() == pytest.approx(EPOCH + 500.0, abs=1.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "must be JSON"),
        ("[]", "must hold an object"),
        ('{"mission_time_seconds": 1, "host_time_seconds": 2, "speed": 3}', "must hold an object"),
        ('{"mission_time_seconds": 1}', "not a clock anchor"),
        ('{"mission_time_seconds": "soon", "host_time_seconds": 2}', "not a clock anchor"),
        ('{"mission_time_seconds": 1, "host_time_seconds": 2, "rate": 0}', "must be above 0"),
    ],
)
def test_a_broken_clock_file_is_said_in_a_sentence(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "clock.json"
    path.write_text(text)
    with pytest.raises(UserError, match=expected) as raised:
        read_anchor(path)
    assert str(path) in str(raised.value)


def test_a_missing_clock_file_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no clock file"):
        read_anchor(tmp_path / "clock.json")


def test_an_anchor_without_the_newer_fields_is_read(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    path.write_text(json.dumps({"mission_time_seconds": 1.0, "host_time_seconds": 2, "rate": 60}))
    assert read_anchor(path) == Anchor(1.0, 2.0, 60.0)


@given(st.floats(0.5, 100.0), st.lists(st.floats(0, 1e4), min_size=1, max_size=10))
def test_sleep_until_never_wakes_early_nor_more_than_rounding_late(rate: float, steps: list[float]) -> None:
    async def main() -> None:
        clock = MissionClock.starting_at(EPOCH, rate)
        target = EPOCH
        for step in steps:
            target += step
            await clock.sleep_until(target)
            assert target <= clock.now() <= target + 1e-5

    virtual.run(main)


def test_timeouts_are_in_mission_seconds() -> None:
    async def main() -> float:
        clock = MissionClock.starting_at(EPOCH, 60.0)
        with pytest.raises(TimeoutError):
            async with clock.timeout(120.0):
                await asyncio.sleep(1000.0)
        return asyncio.get_running_loop().time()

    assert virtual.run(main) == pytest.approx(2.0)


def test_sleeping_for_nothing_yields_once() -> None:
    async def main() -> list[str]:
        clock = MissionClock.starting_at(EPOCH)
        seen: list[str] = []
        asyncio.get_running_loop().call_soon(seen.append, "other")
        await clock.sleep(0.0)
        seen.append("self")
        return seen

    assert virtual.run(main) == ["other", "self"]


def test_a_cancelled_sleep_leaves_no_timer() -> None:
    async def main() -> float:
        clock = MissionClock.starting_at(EPOCH)
        task = asyncio.ensure_future(clock.sleep(1e6))
        await clock.sleep(1.0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await clock.sleep(1.0)
        return clock.now()

    assert virtual.run(main) == pytest.approx(EPOCH + 2.0)
