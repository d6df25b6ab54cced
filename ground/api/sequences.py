"""Sequences of commands: submitted whole, followed step by step, ended early."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import Field

from ground.api.common import Limit, Model, Operator, Revision, Segment, Viewer, Wait, about, newer
from ground.api.queues import Why
from ground.command_records import AbortRecord, SequenceRecord
from ground.sequencefile import OnFailure, step_of
from skyrack.errors import UserError
from skyrack.sequences import MAXIMUM_STEPS
from skyrack.v1.backhaul_pb2 import CommandSequence

__all__ = ["SequenceSubmission", "StepSubmission", "router"]

router = APIRouter(tags=["sequences"])


class StepSubmission(Model):
    """A command of the dictionary, as in ``SetDrain`` or ``power.SetParameters``; arguments as a person types them."""

    command: str = Field(min_length=1, max_length=128)
    arguments: dict[str, str] = Field(default_factory=dict)
    at_seconds: float | None = Field(None, gt=0, allow_inf_nan=False, description="Mission time at which it runs")
    after_seconds: float = Field(
        0, ge=0, allow_inf_nan=False, description="Without a time of its own: after the step before it was done"
    )
    on_failure: OnFailure = "stop"


class SequenceSubmission(Model):
    """Commands that a satellite runs one after the other; checked as a whole before anything of them leaves."""

    satellite: str
    name: str = Field("", max_length=64)
    steps: list[StepSubmission] = Field(min_length=1, max_length=MAXIMUM_STEPS)
    lifetime_seconds: float = Field(
        0, ge=0, allow_inf_nan=False, description="How long it may take to arrive; 0 is the ground's usual"
    )

    def sequence(self) -> CommandSequence:
        """In the words of the contract."""
        made = CommandSequence(name=self.name)
        for number, step in enumerate(self.steps, 1):
            try:
                made.steps.append(step_of(**step.model_dump()))
            except UserError as error:
                raise UserError(f"step {number}: {error}") from None
        return made


@router.put("/v1/sequences/{sequence_id}")
async def run_sequence(
    sequence_id: str, submission: SequenceSubmission, segment: Segment, person: Operator, request: Request
) -> SequenceRecord:
    """Run a sequence under an id of the client's choice; the same again changes nothing."""
    about(request, f"{sequence_id}: {submission.satellite} {submission.name}, {len(submission.steps)} steps")
    return await segment.sequence_desk.submit(
        sequence_id,
        submission.satellite,
        submission.sequence(),
        submitter=person.name,
        lifetime_seconds=submission.lifetime_seconds,
    )


@router.get("/v1/sequences")
async def list_sequences(segment: Segment, _: Viewer, limit: Limit = 200, satellite: str = "") -> list[SequenceRecord]:
    """The newest sequences, newest last, without their steps."""
    return await segment.sequence_desk.sequences(limit, satellite)


@router.get("/v1/sequences/{sequence_id}")
async def get_sequence(
    sequence_id: str, segment: Segment, _: Viewer, after_revision: Revision = -1, wait_seconds: Wait = 0
) -> SequenceRecord:
    """A sequence with its steps."""
    return await newer(
        segment,
        lambda: segment.sequence_desk.sequence(sequence_id),
        lambda record: record.revision > after_revision,
        wait_seconds,
    )


@router.post("/v1/sequences/{sequence_id}/abort")
async def abort_sequence(
    sequence_id: str, why: Why, segment: Segment, person: Operator, request: Request
) -> AbortRecord:
    """End a sequence early: withdrawn if it has not left, else by a command to its satellite."""
    about(request, f"{sequence_id}: {why.reason}")

    return await segment.abort_sequence(sequence_id, person.name, why.reason)
