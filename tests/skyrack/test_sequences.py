"""Sequences of commands are checked as a whole."""

from __future__ import annotations

import math

import pytest

from skyrack.sequences import MAXIMUM_STEPS, problem_of, problems, step_id, step_name, utc
from skyrack.v1.backhaul_pb2 import CommandSequence, SequenceStep, Telecommand
from skyrack.v1.compute_pb2 import SetDrainRequest

NOW = 1.8e9
DRAIN = Telecommand(service="compute", method="SetDrain", request=SetDrainRequest(draining=True).SerializeToString())


def after(seconds: float, command: Telecommand = DRAIN) -> SequenceStep:
    return SequenceStep(telecommand=command, after_seconds=seconds)


def at(seconds: float, command: Telecommand = DRAIN) -> SequenceStep:
    return SequenceStep(telecommand=command, mission_time_seconds=NOW + seconds)


def found(*steps: SequenceStep) -> list[str]:
    return problems(CommandSequence(steps=steps), NOW, problem_of)


def test_a_good_sequence_has_no_problems() -> None:
    assert found(after(0), at(60), after(30), at(90), at(90)) == []


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([], "no steps"),
        ([after(0)] * (MAXIMUM_STEPS + 1), "201 steps, at most 200 fit"),
        ([at(-1)], "step 1: its time 2027-01-15T07:59:59Z lies before its submission, 2027-01-15T08:00:00Z"),
        ([at(60), at(30)], "step 2: its time 2027-01-15T08:00:30Z lies before the earliest end of step 1"),
        ([after(100), at(60)], "step 2: its time 2027-01-15T08:01:00Z lies before the earliest end of step 1"),
        ([after(-1)], "step 1: it begins -1 s after the step before, must be from 0"),
        ([after(math.nan)], "step 1: it begins nan s"),
        ([at(1e12)], "step 1: its time is 1.0018e+12, must be a mission time within a year"),
        ([at(math.inf)], "step 1: its time is inf"),
    ],
)
def test_what_can_be_known_to_go_wrong_is_said(steps: list[SequenceStep], words: str) -> None:
    (sentence,) = found(*steps)
    assert words in sentence


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (Telecommand(service="compute", method="Explode"), "compute has no command 'Explode'"),
        (Telecommand(service="kitchen", method="SetDrain"), "kitchen has no command 'SetDrain'"),
        (Telecommand(method="SetDrain"), "the satellite has no command 'SetDrain'"),
        (Telecommand(service="compute", method="PlaceJob"), "compute has no command 'PlaceJob'"),
        (Telecommand(service="compute", method="SetDrain", request=b"\xff\xff"), "not a SetDrainRequest"),
        (Telecommand(service="compute", method="SetDrain"), "SetDrain: draining is missing"),
    ],
)
def test_a_bad_command_is_named_with_its_step(command: Telecommand, words: str) -> None:
    (sentence,) = found(after(0), after(0, command), after(0))
    assert sentence.startswith("step 2: ")
    assert words in sentence


def test_all_problems_are_told_at_once() -> None:
    assert len(found(after(-1), at(-1), after(0, Telecommand()))) == 3


def test_steps_are_named_after_their_sequence() -> None:
    assert step_name(step_id("eclipse-7", 3)) == ("eclipse-7", 3)
    assert step_name("c1") is None
    assert step_name("a/0") is None
    assert step_name("a/b/1") is None


def test_a_time_that_is_none_is_still_printed() -> None:
    assert utc(1e18) == "1e+18"
