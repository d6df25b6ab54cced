"""The procedure on a board that is a formula: what passes, what fails, for which reason."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hil.acceptance.model import StepResult, Verdict, accepted
from hil.acceptance.procedure import load
from hil.acceptance.rig import Session
from hil.acceptance.run import run_procedure
from skyrack.files import FileError


class Watcher:
    def __init__(self) -> None:
        self.said: list[str] = []

    def begins(self, step: object) -> None:
        pass

    def tells(self, text: str) -> None:
        self.said.append(text)

    def ended(self, result: StepResult) -> None:
        self.said.append(f"{result.name}: {result.verdict.value}")


def run(board: object, *steps: str, **allowed: object) -> dict[str, StepResult]:
    session = Session(board, **allowed)  # type: ignore[arg-type]
    results = asyncio.run(run_procedure(load(only=steps), session, Watcher()))
    return {result.name: result for result in results}


def value(result: StepResult, name: str) -> float:
    found = next(each.value for each in result.values if each.name == name)
    assert found is not None
    return found


def test_a_good_board_is_accepted(board: Any) -> None:
    results = run(board)
    verdicts = {name: result.verdict for name, result in results.items()}
    assert verdicts.pop("watchdog") is Verdict.NOT_APPLICABLE
    assert verdicts.pop("calibration") is Verdict.NOT_APPLICABLE  # one thermometer, one meter, no reference
    assert set(verdicts.values()) == {Verdict.PASSED}, results
    assert accepted(tuple(results.values()))


def test_the_curve_finds_what_the_board_is_made_of(board: Any) -> None:
    board.kelvin_per_watt, board.time_constant_seconds = 4.2, 70.0
    heating = run(board, "self-heating")["self-heating"]
    assert value(heating, "rise per watt of thermal.chip") == pytest.approx(4.2, rel=0.03)
    assert value(heating, "time constant of thermal.chip") == pytest.approx(70.0, rel=0.05)
    assert value(heating, "without load, thermal.chip") == pytest.approx(22.0, abs=0.5)
    assert value(heating, "draw under full load of meter.board") == pytest.approx(6.7, abs=0.05)
    assert heating.pictures[0].svg.startswith("<svg")


def test_a_board_without_a_heat_sink_is_let_off_at_once(board: Any) -> None:
    board.kelvin_per_watt, board.time_constant_seconds = 15.0, 10.0
    heating = run(board, "self-heating")["self-heating"]
    assert heating.verdict is Verdict.FAILED
    assert "thermal.chip went over 85 °C: the load was taken away" in heating.reason
    assert value(heating, "hottest of thermal.chip") < 88.0


def test_settling_is_measured_on_the_watts(board: Any) -> None:
    throttle = run(board, "throttle")["throttle"]
    assert throttle.verdict is Verdict.PASSED
    assert 0.3 < value(throttle, "settling of meter.board at 60%") < 2.0
    assert value(throttle, "rest of meter.board at 30%") == pytest.approx(2.7 + 0.3 * 4.0, abs=0.1)


@pytest.mark.parametrize(
    ("figure", "wrong", "said"),
    [
        ("follows_seconds", 2.5, "settling of meter.board"),
        ("cap_error", 0.2, "over the cap of meter.board at 30%"),
    ],
)
def test_a_cap_that_is_not_held_rejects(board: Any, figure: str, wrong: float, said: str) -> None:
    setattr(board, figure, wrong)
    throttle = run(board, "throttle")["throttle"]
    assert throttle.verdict is Verdict.FAILED
    assert said in throttle.reason


def test_a_bare_throttle_must_move_something(board: Any) -> None:
    board.nodes, board.devices = {}, {"meter.board": "i2c.ina226", "throttle.cpu": "linux.cpufreq"}
    throttle = run(board, "throttle")["throttle"]
    assert throttle.verdict is Verdict.PASSED
    assert value(throttle, "reduction of meter.board at 30%") > 30.0
    board.obeys = False
    assert "reduction of meter.board at 30% is 0 %" in run(board, "throttle")["throttle"].reason


def test_a_silent_device_is_named_with_its_remedy_and_does_not_end_the_others(board: Any) -> None:
    board.problems["meter.board"] = "meter.board: nobody answers at 0x40 on i2c-1; look at its wiring"
    results = run(board, "devices", "self-heating", "clock")
    assert results["devices"].verdict is Verdict.FAILED
    assert "look at its wiring" in results["devices"].reason
    assert results["self-heating"].verdict is Verdict.FAILED
    assert results["clock"].verdict is Verdict.PASSED


def test_calibration_against_what_was_read_off_a_reference(board: Any) -> None:
    fine = run(board, "calibration", references={"meter.board": 2.72})["calibration"]
    assert fine.verdict is Verdict.PASSED
    board.offsets["meter.board"] = 0.5
    off = run(board, "calibration", references={"meter.board": 2.72})["calibration"]
    assert off.verdict is Verdict.FAILED
    assert "difference in % of meter.board is 17" in off.reason
    unknown = run(board, "calibration", references={"meter.bord": 1.0})["calibration"]
    assert 'did you mean "meter.board"?' in unknown.reason


def test_siblings_are_held_against_each_other(board: Any) -> None:
    board.devices = {**board.devices, "thermal.rim": "i2c.tmp117", "thermal.edge": "i2c.tmp117"}
    values = board._values
    board._values = lambda: {**values(), "thermal.rim": board._celsius + 0.5, "thermal.edge": board._celsius + 6.0}
    result = run(board, "calibration")["calibration"]
    assert result.verdict is Verdict.FAILED
    assert "difference in K of thermal.edge is 5.5 K" in result.reason


def test_the_watchdog_needs_a_permission_and_a_new_boot(board: Any) -> None:
    board.__init__(watchdog_device="/dev/watchdog")
    assert run(board, "watchdog")["watchdog"].verdict is Verdict.SKIPPED
    assert "accept-reset" not in board.asked
    done = run(board, "watchdog", allow_reset=True)["watchdog"]
    assert done.verdict is Verdict.PASSED
    assert value(done, "back") == pytest.approx(17.0, abs=0.1)
    assert "boot id first became second" in done.evidence[0]
    board.comes_back = False
    assert run(board, "watchdog", allow_reset=True)["watchdog"].verdict is Verdict.FAILED


@pytest.mark.parametrize(
    ("figures", "step", "said"),
    [
        ({"wrong": "job-1: it came to 3, and 4 is right: this board miscounts"}, "job", "miscounts"),
        ({"ends_as": "FAILED"}, "recovery", "job-1 FAILED: out of memory"),
        ({"lost": 2}, "recovery", "items lost in delivery is 2"),
    ],
)
def test_what_is_lost_or_wrong_in_flight_rejects(board: Any, figures: dict[str, Any], step: str, said: str) -> None:
    for name, figure in figures.items():
        setattr(board.flight, name, figure)
    result = run(board, step)[step]
    assert result.verdict is Verdict.FAILED
    assert said in result.reason


def test_a_bench_that_does_not_fly_fails_its_steps_once(board: Any) -> None:
    board.flight = None
    results = run(board, "clock", "job", "link", "recovery")
    assert results["clock"].verdict is Verdict.PASSED
    assert {results[name].reason for name in ("job", "link", "recovery")} == {
        "the bench does not fly: the plant was not ready"
    }


def test_limits_are_data(board: Any, tmp_path: Path) -> None:
    override = tmp_path / "mine.toml"
    override.write_text('[[steps]]\nname = "clock"\nlimits."UTC offset" = { low = -0.1, high = 0.1 }\n')
    session = Session(board)
    results = asyncio.run(run_procedure(load(override, ["clock"]), session, Watcher()))
    assert "UTC offset is 0.3 s, it must be -0.1 to 0.1 s" in results[0].reason


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[steps]]\nname = "clok"\n', 'did you mean "clock"?'),
        ('[[steps]]\nname = "clock"\nsettings = { round_trip = 3 }\n', 'did you mean "round_trips"?'),
        ('[[steps]]\nname = "clock"\nlimits.drift = { hi = 3 }\n', "hi"),
    ],
)
def test_a_mistake_in_an_override_is_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(FileError, match=said.replace("?", r"\?")):
        load(path)


def test_no_step_at_all_accepts_nothing() -> None:
    assert not accepted(())
