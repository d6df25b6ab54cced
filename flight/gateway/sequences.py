"""What a sequence of commands does next. Values in, values out.

A step runs at most once: it is recorded as begun before it is passed on, and what is found begun after a restart is
not passed on again, for nobody knows whether it was carried out. No step begins before its time. One that could not
begin within ``lateness`` of its time, because the satellite had no power or the step before took too long, is not run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from skyrack.v1.backhaul_pb2 import CommandSequence


class StepState(IntEnum):
    """What is known of a step; numbers are what the table keeps."""

    WAITING = 0
    BEGUN = 1
    """Passed on, and the answer is not recorded."""
    COMPLETED = 2
    FAILED = 3
    """Also: not run, for a reason."""

    @property
    def over(self) -> bool:
        """Nothing more comes of it."""
        return self in (StepState.COMPLETED, StepState.FAILED)


@dataclass(frozen=True, slots=True)
class Step:
    """When a step is to run, and what its failure means; counted from 1."""

    number: int
    at_seconds: float | None
    """Mission time; ``None`` for a step that follows the one before."""
    after_seconds: float
    continues: bool
    """The sequence goes on when this step fails."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a step came."""

    state: StepState = StepState.WAITING
    ended_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is to be done before a mission time."""

    until_seconds: float


@dataclass(frozen=True, slots=True)
class Run:
    """It is time for a step."""

    number: int


@dataclass(frozen=True, slots=True)
class Fail:
    """A step has failed without being passed on (again)."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class End:
    """The sequence is over; steps that still wait will not run."""

    completed: bool
    reason: str


Action = Wait | Run | Fail | End


def plan(sequence: CommandSequence) -> tuple[Step, ...]:
    """The steps of a sequence as it came up."""
    return tuple(
        Step(
            number=number,
            at_seconds=step.mission_time_seconds if step.WhichOneof("at") == "mission_time_seconds" else None,
            after_seconds=step.after_seconds,
            continues=sequence.continue_on_failure or step.continue_on_failure,
        )
        for number, step in enumerate(sequence.steps, 1)
    )


def next_action(  # noqa: PLR0911 - one return for each thing that there is to do
    steps: Sequence[Step],
    progress: Sequence[Progress],
    accepted_seconds: float,
    now: float,
    lateness_seconds: float,
    aborted: str | None = None,
) -> Action:
    """Decide. ``aborted`` is the reason that somebody gave for ending it; a step that was begun is not recalled."""
    before = accepted_seconds
    failed = 0
    for step, made in zip(steps, progress, strict=True):
        if made.state is StepState.BEGUN:
            return Fail(step.number, "the gateway was restarted while it was carried out; whether it was is not known")
        if made.state.over:
            before = made.ended_seconds
            failed += made.state is StepState.FAILED
            if made.state is StepState.FAILED and not step.continues:
                return End(completed=False, reason=f"step {step.number} failed")
            continue
        if aborted is not None:
            return End(completed=False, reason=f"aborted: {aborted}" if aborted else "aborted")
        due = due_seconds(step, before)
        if now < due:
            return Wait(due)
        if now > due + lateness_seconds:
            return Fail(
                step.number, f"not run: it was due {now - due:.0f} s ago, at most {lateness_seconds:.0f} s pass"
            )
        return Run(step.number)
    return End(completed=True, reason=f"{failed} of {len(steps)} steps failed" if failed else "")


def due_seconds(step: Step, before_seconds: float) -> float:
    """Mission time of a step; ``before_seconds`` is when the step before was over, or the sequence was accepted."""
    return before_seconds + step.after_seconds if step.at_seconds is None else step.at_seconds
