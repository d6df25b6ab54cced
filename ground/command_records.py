"""What the ground tells about command queues and sequences: plain records, times in mission seconds."""

from __future__ import annotations

from dataclasses import dataclass

from ground.records import CommandStage, TelecommandRecord

__all__ = ["AbortRecord", "QueueRecord", "SequenceRecord", "SequenceStepRecord", "WaitingCommand"]


@dataclass(frozen=True, slots=True)
class WaitingCommand:
    """A telecommand or a sequence that has not left yet, and can be withdrawn."""

    id: str
    # "telecommand" or "sequence".
    kind: str
    # "power.SetLoadSwitch", or a sequence's name.
    name: str
    submitter: str
    created_seconds: float
    not_after_seconds: float


@dataclass(frozen=True, slots=True)
class QueueRecord:
    """What waits for one satellite, and whether it may leave."""

    satellite: str
    is_held: bool
    held_by: str
    reason: str
    held_seconds: float | None
    # Whether the satellite can be reached at this moment; what waits leaves when it can.
    is_reachable: bool
    waiting: tuple[WaitingCommand, ...]


@dataclass(frozen=True, slots=True)
class SequenceStepRecord:
    """One step of a sequence, counted from 1, and how far it came."""

    number: int
    # "power.SetLoadSwitch".
    command: str
    arguments: str
    # Its own time, or seconds after the step before.
    at_seconds: float | None
    after_seconds: float
    # "stop" or "continue".
    on_failure: str
    stage: str
    reason: str
    response: str
    started_seconds: float | None
    finished_seconds: float | None


@dataclass(frozen=True, slots=True)
class SequenceRecord:
    """A sequence, the stages that it reached as a whole, and its steps."""

    sequence_id: str
    satellite: str
    name: str
    submitter: str
    created_seconds: float
    # It must have arrived by then.
    not_after_seconds: float
    stage: str
    is_final: bool
    reason: str
    # Grows with every change of anything.
    revision: int
    # Who stands for it: "operator-1", or "ground for alice, operator-2".
    signed_by: str = ""
    stages: tuple[CommandStage, ...] = ()
    steps: tuple[SequenceStepRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class AbortRecord:
    """What came of asking that a sequence end early."""

    sequence: SequenceRecord
    # The command that tells the satellite; None where the sequence had not left, or was over.
    command: TelecommandRecord | None
