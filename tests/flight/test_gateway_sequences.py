"""What a sequence does next, whatever interrupts it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flight.gateway.sequences import End, Fail, Progress, Run, Step, StepState, Wait, due_seconds, next_action, plan
from skyrack.v1.backhaul_pb2 import CommandSequence, SequenceStep

ACCEPTED = 1000.0
LATENESS = 60.0


def step(number: int, *, at: float | None = None, after: float = 0.0, continues: bool = False) -> Step:
    return Step(number, at, after, continues)


def test_a_plan_is_read_from_the_contract() -> None:
    steps = [SequenceStep(after_seconds=5), SequenceStep(mission_time_seconds=7, continue_on_failure=True)]
    assert plan(CommandSequence(steps=steps)) == (step(1, after=5), step(2, at=7, continues=True))
    assert all(made.continues for made in plan(CommandSequence(steps=steps, continue_on_failure=True)))


@pytest.mark.parametrize(
    ("progress", "now", "action"),
    [
        ([], 1000, Wait(1030)),
        ([], 1030, Run(1)),
        ([Progress(StepState.COMPLETED, 1035)], 1036, Wait(1045)),
        ([Progress(StepState.COMPLETED, 1035)], 1045, Run(2)),
        ([Progress(StepState.COMPLETED, 1035), Progress(StepState.COMPLETED, 1046)], 1099, Wait(1100)),
    ],
)
def test_steps_run_at_their_times(progress: list[Progress], now: float, action: object) -> None:
    steps = [step(1, after=30), step(2, after=10), step(3, at=1100)]
    progress += [Progress()] * (3 - len(progress))
    assert next_action(steps, progress, ACCEPTED, now, LATENESS) == action


def test_a_step_that_was_begun_is_never_run_again() -> None:
    action = next_action([step(1)], [Progress(StepState.BEGUN, 1000)], ACCEPTED, 1001, LATENESS)
    assert isinstance(action, Fail)
    assert "not known" in action.reason


def test_a_step_that_comes_late_is_not_run_and_says_so() -> None:
    action = next_action([step(1, at=1010)], [Progress()], ACCEPTED, 1071, LATENESS)
    assert action == Fail(1, "not run: it was due 61 s ago, at most 60 s pass")


def test_a_failure_ends_the_sequence_unless_its_step_says_otherwise() -> None:
    failed = [Progress(StepState.FAILED, 1001), Progress()]
    assert next_action([step(1), step(2)], failed, ACCEPTED, 1002, LATENESS) == End(
        completed=False, reason="step 1 failed"
    )
    assert next_action([step(1, continues=True), step(2)], failed, ACCEPTED, 1002, LATENESS) == Run(2)
    over = [failed[0], Progress(StepState.COMPLETED, 1003)]
    assert next_action([step(1, continues=True), step(2)], over, ACCEPTED, 1004, LATENESS) == End(
        completed=True, reason="1 of 2 steps failed"
    )


def test_an_abort_ends_it_before_the_next_step() -> None:
    progress = [Progress(StepState.COMPLETED, 1001), Progress()]
    action = next_action([step(1), step(2)], progress, ACCEPTED, 1002, LATENESS, aborted="the pass is cancelled")
    assert action == End(completed=False, reason="aborted: the pass is cancelled")
    over = [progress[0], progress[0]]
    assert next_action([step(1), step(2)], over, ACCEPTED, 1002, LATENESS, aborted="late") == End(True, "")


@dataclass
class Board:
    """Runs a sequence as the sequencer does, and loses power wherever it is told to."""

    steps: list[Step]
    now: float = ACCEPTED
    progress: list[Progress] = field(default_factory=list)
    carried_out: list[tuple[int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.progress = [Progress()] * len(self.steps)

    def turn(self, loses_power: str, off_seconds: float, fails: bool, takes_seconds: float) -> End | None:
        action = next_action(self.steps, self.progress, ACCEPTED, self.now, LATENESS)
        match action:
            case Wait(until):
                assert until > self.now
                self.now = until
            case Fail(number, _):
                self.progress[number - 1] = Progress(StepState.FAILED, self.now)
            case End():
                return action
            case Run(number):
                if loses_power != "before":
                    self.progress[number - 1] = Progress(StepState.BEGUN, self.now)
                    if loses_power != "recorded as begun":
                        self.carried_out.append((number, self.now))
                        self.now += takes_seconds
                        if loses_power != "carried out":
                            state = StepState.FAILED if fails else StepState.COMPLETED
                            self.progress[number - 1] = Progress(state, self.now)
        if loses_power:
            self.now += off_seconds
        return None


TIMES = st.floats(0, 500)
STEPS = st.lists(st.tuples(st.booleans(), TIMES, st.booleans()), min_size=1, max_size=8)
TURNS = st.lists(
    st.tuples(
        st.sampled_from(["", "", "", "before", "recorded as begun", "carried out", "after"]),
        st.floats(0, 400),
        st.booleans(),
        st.floats(0, 100),
    ),
    max_size=40,
)


@given(STEPS, TURNS)
def test_each_step_runs_at_most_once_in_order_never_early_and_never_late(
    wanted: list[tuple[bool, float, bool]], turns: list[tuple[str, float, bool, float]]
) -> None:
    steps = [
        step(number, at=ACCEPTED + time if absolute else None, after=time, continues=continues)
        for number, (absolute, time, continues) in enumerate(wanted, 1)
    ]
    board = Board(steps)
    calm = [("", 0.0, False, 1.0)] * (3 * len(steps) + 1)
    end = next(filter(None, (board.turn(*turn) for turn in [*turns, *calm])), None)
    assert end is not None
    numbers = [number for number, _ in board.carried_out]
    assert numbers == sorted(set(numbers))
    ended = [ACCEPTED, *(made.ended_seconds for made in board.progress)]
    for number, began in board.carried_out:
        due = due_seconds(steps[number - 1], ended[number - 1])
        assert due <= began <= due + LATENESS
    stopped = [made for made in steps if board.progress[made.number - 1].state is StepState.FAILED]
    assert end.completed == all(made.continues for made in stopped)
    if end.completed:
        assert all(made.state.over for made in board.progress)
    else:
        # Nothing runs after a failure that ends the sequence.
        last = next(made.number for made in stopped if not made.continues)
        assert all(number <= last for number in numbers)
