"""What a run was and how it went: light enough to be handed from process to process."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hil.campaign.evidence import Evidence, Look
    from hil.campaign.invariants import Breach
    from hil.fault_watch import FaultOutcome
    from hil.faults import Fault


@dataclass(frozen=True, slots=True)
class JobBar:
    """A stretch of a job's life for a picture; seconds after the start."""

    job_id: str
    satellite: str
    state: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class RunResult:
    """A run, judged."""

    seed: int
    kind: str
    """Of the main fault; empty where no faults were drawn."""
    faults: tuple[Fault, ...]
    outcomes: tuple[FaultOutcome, ...] = ()
    """One for each fault, in the same order."""
    breaches: tuple[Breach, ...] = ()
    host_seconds: float = 0.0
    mission_seconds: float = 0.0
    digest: str = ""
    jobs: dict[str, int] = field(default_factory=dict)
    commands: int = 0
    looks: dict[str, tuple[Look, ...]] = field(default_factory=dict)
    bars: tuple[JobBar, ...] = ()

    @property
    def is_broken(self) -> bool:
        """Whether an invariant did not hold."""
        return bool(self.breaches)


def bars(evidence: Evidence) -> tuple[JobBar, ...]:
    """What jobs did, by the applied steps of their histories."""
    found = []
    for record in evidence.jobs:
        steps = [step for step in record.history if step.is_applied]
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            if step.state not in ("ACCEPTED", "RUNNING", "PREEMPTED"):
                continue
            start = step.mission_time_seconds - evidence.start_seconds
            end = evidence.end_seconds
            if following is not None:
                end = following.mission_time_seconds - evidence.start_seconds
            found.append(JobBar(record.job_id, step.satellite, step.state, start, max(start, end)))
    return tuple(found)
